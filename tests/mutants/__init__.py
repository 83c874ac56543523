"""Single-line mutants against their room's own tests: `make mutants`. It measures; nothing is collected from here
but the tool's own test.

The operators are cosmic-ray's; how they are run is ours, because neither ready-made runner fits. mutmut 3 leaves
decorated functions alone (every property of the budget), changes words inside error sentences, and has no list of
equivalents but comments in the code. cosmic-ray's own session writes each mutant into the working tree, where a
killed run leaves it, and starts an interpreter for each. Here a child process is forked for each mutant, with the
test libraries imported already, and gets the mutated text through an import hook: no file is ever changed.
"""
