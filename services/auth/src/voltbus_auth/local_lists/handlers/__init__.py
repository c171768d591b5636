"""Local lists: what happens to stations is folded in, changes mark lists due, due ones are kept.

`events` reads what others tell, `marking` finds whose list a change touches, `keeping` looks at
what is due and sends, `compiling` works out what a station should hold.
"""
