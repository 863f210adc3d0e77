#!/bin/sh
# Stands in for an action: runs what its input `script` says. In the repository, and not written by the tests, because a
# file that was just written cannot always be executed ("text file busy").
eval "$INPUT_SCRIPT"
