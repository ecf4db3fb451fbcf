#compdef @PROGRAM@
# Completes @PROGRAM@ in zsh; made by '@PROGRAM@ completion zsh'.

# What is asked for names: the program that is typed or, where it is no command
# here, the one that made this.
_cove_ask() {
    local program=$service
    (( $+commands[$program] )) || program=@PATH@
    $program $cove_globals "$@" 2>/dev/null </dev/null
}

_cove_containers() {
    local -a names=(${(f)"$(_cove_ask ps -a --format '{{.Names}}')"})
    compadd "$@" -a names
}

_cove_running() {
    local -a names=(${(f)"$(_cove_ask ps --format '{{.Names}}')"})
    compadd "$@" -a names
}

_cove_images() {
    local -a names=(${(f)"$(_cove_ask images --format '{{.Repository}}:{{.Tag}}')"})
    names=(${names:#*<none>*})
    names+=(${${(M)names:#*:latest}%:latest})
    compadd "$@" -a names
}

_cove_objects() {
    _cove_containers "$@"
    _cove_images "$@"
}

_cove_copies() {
    _cove_containers -q -S : "$@"
    _files
}

_cove_commands() {
    local -a commands
    case $1 in
@COMMANDS@
    esac
    _describe -t commands command commands
}

_cove_arguments() {
    case $1 in
@TABLE@
    esac
}

@FUNCTION@() {
    local curcontext=$curcontext context state state_descr line command
    local -a cove_globals
    typeset -A opt_args
    _arguments -C -A '-*' \
@GLOBALS@
        '1:command: _cove_commands ""' \
        '*::argument:->arguments'
    [[ $state == arguments ]] || return
    cove_globals=(
        ${opt_args[--root]:+--root ${(Q)opt_args[--root]}}
        ${opt_args[--runroot]:+--runroot ${(Q)opt_args[--runroot]}}
    )
    command=$words[1]
    if [[ " @GROUPS@ " == *" $command "* ]]; then
        state=
        _arguments -C '1:command: _cove_commands '$command '*::argument:->arguments'
        [[ $state == arguments ]] || return
        command+=" $words[1]"
    fi
    _cove_arguments $command
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    @FUNCTION@ "$@"
else
    compdef @FUNCTION@ @PROGRAM@
fi
