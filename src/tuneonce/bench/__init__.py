"""The restart benchmark: what a second start of a server costs, with and without tuneonce.

sse         a stream of server-sent events, from bytes in any pieces
metrics     figures from samples, with vLLM's definitions
load        the client
procfs      the processes of a server, wherever they went
sockets     which processes have a port
ports       a port that a server has for itself
interrupts  Ctrl-C and its relatives, held back while a server is between two states
process     one life of a server
machine     where it ran
arms        what is compared
readings    what a server's log says
restart     arms times repeats times runs
result      the document that remains
winners     the tuning results that remain, and whether they are the same
table       that document as tables of text
"""
