#!/bin/sh
# A network in C that answers every sample of a sound: ./build.sh model.pt, for a checkpoint that reads one number a step.
# Then, from a microphone:
#
#     arecord -q -t raw -f FLOAT_LE -r 8000 -c 1 | ./listen
#
# It needs drnn-deploy and a C compiler. What it makes needs neither.
set -eu
drnn-export "$1" --form step --engine none --native --native-name net --output microphone-bundle
${CC:-cc} ${CFLAGS:--O3} microphone-bundle/native/selftest.c -o selftest
./selftest
${CC:-cc} ${CFLAGS:--O3} microphone-bundle/native/example.c -o listen
