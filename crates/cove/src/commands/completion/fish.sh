# Completes @PROGRAM@ in fish; made by '@PROGRAM@ completion fish'.

# What is asked for names: the program that is typed or, where it is no command
# here, the one that made this.
function __cove_ask
    set -l words (commandline -opc)
    set -l program $words[1]
    type -q -- $program; or set program @PATH@
    $program $__cove_globals $argv 2>/dev/null </dev/null
end

function __cove_containers
    __cove_ask ps -a --format '{{.Names}}'
end

function __cove_running
    __cove_ask ps --format '{{.Names}}'
end

function __cove_images
    set -l names (__cove_ask images --format '{{.Repository}}:{{.Tag}}' | string match -v '*<none>*')
    printf '%s\n' $names
    string replace -rf ':latest$' '' -- $names
end

function __cove_objects
    __cove_containers
    __cove_images
end

function __cove_copies
    __cove_ask ps -a --format '{{.Names}}:'
end

# The flags of a command that take a value.
function __cove_values
    switch "$argv"
@VALUES@
    end
end

# Finds the command that is typed, how many arguments it has so far, whether flags
# have ended, and the flags before it.
function __cove_parse
    set -l words (commandline -opc)
    test "$words" = "$__cove_seen"; and return
    set -g __cove_seen $words
    set -g __cove_command ''
    set -g __cove_count 0
    set -g __cove_plain ''
    set -g __cove_globals
    set -l flag ''
    for word in $words[2..-1]
        if test -n "$flag"
            test -n "$__cove_command"; or set -a __cove_globals $flag $word
            set flag ''
        else if test -z "$__cove_plain"; and test "$word" = --
            set __cove_plain 1
        else if test -z "$__cove_plain"; and string match -q -- '-?*' $word
            if string match -q -- '*=*' $word
                test -n "$__cove_command"; or set -a __cove_globals $word
                continue
            end
            string match -q -- '--*' $word; or set word -(string sub -s -1 -- $word)
            contains -- $word (__cove_values $__cove_command); and set flag $word
        else if contains -- "$__cove_command" '' @GROUPS@
            set __cove_command (string trim -- "$__cove_command $word")
        else
            set __cove_count (math $__cove_count + 1)
            contains -- "$__cove_command" @ENDS@; and set __cove_plain 1
        end
    end
end

# Whether the flags of a command of these are wanted.
function __cove_flags
    __cove_parse
    test -z "$__cove_plain"; and contains -- "$__cove_command" $argv
end

# Whether the argument of this number, of a command of these, is.
function __cove_argument
    __cove_parse
    test $__cove_count -eq $argv[1]; and contains -- "$__cove_command" $argv[2..-1]
end

# Whether that argument or a later one is.
function __cove_arguments
    __cove_parse
    test $__cove_count -ge $argv[1]; and contains -- "$__cove_command" $argv[2..-1]
end

complete -c @PROGRAM@ -f
@TABLE@
