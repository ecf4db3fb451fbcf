# Completes @PROGRAM@ in bash; made by '@PROGRAM@ completion bash'. It needs no other package.

# What is asked for names: the program that is typed or, where it is no command
# here, the one that made this.
_cove_ask() {
    local program=${words[0]/#\~/$HOME}
    type -P -- "$program" >/dev/null || program=@PATH@
    "$program" "${globals[@]}" "$@" 2>/dev/null </dev/null
}

# Offers those lines of standard input that continue what is typed, with $1
# before each.
_cove_lines() {
    local line
    while IFS= read -r line; do
        [[ $line == "$typed"* ]] && COMPREPLY+=("$1$line")
    done
}

_cove_files() {
    local file
    compopt -o filenames 2>/dev/null
    while IFS= read -r file; do
        COMPREPLY+=("$2$file")
    done < <(compgen "-$1" -- "$typed")
}

# Offers what there is of a kind for $typed, with $2 before each.
_cove_offer() {
    case $1 in
    '' | nothing) ;;
    containers) _cove_lines "$2" < <(_cove_ask ps -a --format '{{.Names}}') ;;
    running) _cove_lines "$2" < <(_cove_ask ps --format '{{.Names}}') ;;
    images)
        _cove_lines "$2" < <(_cove_ask images --format '{{.Repository}}:{{.Tag}}' |
            sed -e '/<none>/d' -e 's/^\(.*\):latest$/\1\n&/')
        ;;
    objects)
        _cove_offer containers "$2"
        _cove_offer images "$2"
        ;;
    files) _cove_files f "$2" ;;
    directories) _cove_files d "$2" ;;
    copies)
        if [[ $typed != */* ]]; then
            _cove_lines "$2" < <(_cove_ask ps -a --format '{{.Names}}:')
            ((${#COMPREPLY[@]})) && compopt -o nospace 2>/dev/null
        fi
        [[ $typed == *:* ]] || _cove_files f "$2"
        ;;
    *) _cove_lines "$2" < <(tr , '\n' <<<"$1") ;;
    esac
}

# Tells of the command $1 its flags, those that take a value with what is offered
# for it, what is offered for each argument, and whether the first ends the flags.
_cove_table() {
    switches='' values='' arguments='' ends=''
    case $1 in
@TABLE@
    esac
}

# What is offered for the value of the flag $1; fails where it takes none.
_cove_value() {
    local value
    for value in $values; do
        if [[ ${value%%:*} == "$1" ]]; then
            kind=${value#*:}
            return 0
        fi
    done
    return 1
}

@FUNCTION@() {
    local IFS=$' \t\n'
    local words=() globals=() switches values arguments ends kind
    local line=${COMP_LINE:0:COMP_POINT} word index
    COMPREPLY=()
    # Bash breaks words at = and : too.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $index == 0 || $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("${line:0:${#word}}")
        else
            words[${#words[@]} - 1]+=${line:0:${#word}}
        fi
        line=${line:${#word}}
    done
    local last=$((${#words[@]} - 1))
    local current=${words[last]} typed=${words[last]}
    local command='' flag='' plain='' count=0

    _cove_table ''
    for ((index = 1; index < last; index++)); do
        word=${words[index]}
        if [[ -z $plain && $word == -- ]]; then
            plain=1
        elif [[ -z $plain && $word == -?* ]]; then
            if [[ $word == *=* ]]; then
                [[ -n $command ]] || globals+=("$word")
                continue
            fi
            [[ $word == --* ]] || word=-${word: -1}
            _cove_value "$word" || continue
            if ((++index == last)); then
                flag=$word
            elif [[ -z $command ]]; then
                globals+=("$word" "${words[index]}")
            fi
        elif [[ -z $command || " @GROUPS@ " == *" $command "* ]]; then
            command=${command:+$command }$word
            _cove_table "$command"
        else
            ((++count))
            plain=$plain$ends
        fi
    done

    if [[ -n $flag ]]; then
        _cove_offer "$kind" ''
    elif [[ -z $plain && $current == --*=* ]]; then
        typed=${current#*=}
        ! _cove_value "${current%%=*}" || _cove_offer "$kind" "${current%%=*}="
    elif [[ -z $plain && $current == -* ]]; then
        for word in $switches $values; do
            [[ ${word%%:*} != "$current"* ]] || COMPREPLY+=("${word%%:*}")
        done
    else
        kind=
        for word in $arguments; do
            kind=$word
            ((count-- > 0)) || break
        done
        _cove_offer "$kind" ''
    fi

    # What follows the last = or : is all that bash puts replies in place of.
    local breaks=${COMP_WORDBREAKS//[^:=]/}
    [[ -z $breaks ]] || COMPREPLY=("${COMPREPLY[@]#"${current%"${current##*["$breaks"]}"}"}")
}

complete -F @FUNCTION@ @PROGRAM@
