"""The demonstration: an operator, two stations and their drivers on a real stack.

``operator`` speaks REST, ``watching`` reads the events, ``scenario`` tells the story and checks
that it went as promised, ``summary`` says what each part saw.
"""
