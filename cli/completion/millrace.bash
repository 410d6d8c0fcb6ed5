# bash completion of millrace. Apps and parameters come from the command itself, so they follow $MILLRACE_APPS.

_millrace_parameters()
{
    millrace apps "$1" 2>/dev/null | sed -n 's/^    \([A-Za-z_][A-Za-z0-9_]*\)=.*/\1=/p'
}

_millrace_devices()
{
    millrace devices --json 2>/dev/null | sed -n 's/^      "id": "\(.*\)",$/\1/p'
}

_millrace_words()
{
    local words=$1
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_millrace_files()
{
    compopt -o filenames 2>/dev/null
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current")
}

# Completes the value of --workers and succeeds, or fails when the cursor is elsewhere. Bash takes cpu=1,device=a for 5
# words: it breaks lines at = and :.
_millrace_workers()
{
    local first=$COMP_CWORD IFS=
    while ((first > 2)) && [[ ${COMP_WORDS[first]} == [=:] || ${COMP_WORDS[first - 1]} == [=:] ]]; do
        ((first--))
    done
    [[ ${COMP_WORDS[first - 1]} == -w || ${COMP_WORDS[first - 1]} == --workers ]] || return 1
    local written="${COMP_WORDS[*]:first:COMP_CWORD - first}$current" before=
    local IFS=$' \t\n'
    [[ $current == = ]] && current=
    [[ $current == *,* ]] && before=${current%,*},
    if [[ $written == *device=* ]]; then
        _millrace_words "$(printf "$before%s " all none gpu accelerator cpu $(_millrace_devices))"
    elif [[ $written != *= ]]; then
        _millrace_words "$(printf "$before%s " cpu= device=)"
        compopt -o nospace 2>/dev/null
    fi
    return 0
}

_millrace()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        _millrace_words "run sbatch explain apps devices generate history trace help --help --version"
        return
    fi
    if [[ $command == run || $command == sbatch || $command == explain ]] && _millrace_workers; then
        return
    fi
    case $command:$previous in
    run:-s | run:--sort | sbatch:-s | sbatch:--sort | explain:-s | explain:--sort) _millrace_words "none key value"; return ;;
    run:-m | run:--memory | sbatch:-m | sbatch:--memory | explain:-m | explain:--memory)
        _millrace_words "256M 1G 4G"
        return
        ;;
    sbatch:--partition) _millrace_words "$(sinfo -h -o %R 2>/dev/null)"; return ;;
    generate:-s | generate:--size) _millrace_words "1M 100M 1G"; return ;;
    *:-o | *:--output | *:--burst) _millrace_files; return ;;
    esac
    if [[ $current == -* ]]; then
        _millrace_words "$(millrace help "$command" 2>/dev/null | sed -n 's/^  ....\(--[a-z-]*\).*/\1/p')"
        return
    fi
    case $command in
    help) _millrace_words "run sbatch explain apps devices generate history trace" ;;
    devices)
        if ((COMP_CWORD == 2)); then
            _millrace_words "list drain restore limit test"
        elif ((COMP_CWORD == 3)); then
            _millrace_words "$(_millrace_devices)"
        fi
        ;;
    generate) _millrace_words "zipf records points edges" ;;
    apps) _millrace_words "$(millrace apps 2>/dev/null | cut -d' ' -f1)" ;;
    history | trace) _millrace_words "last $(millrace history -n 100 2>/dev/null | sed 1d | cut -d' ' -f1)" ;;
    run | sbatch | explain)
        if ((COMP_CWORD == 2)); then
            _millrace_words "$(millrace apps 2>/dev/null | cut -d' ' -f1)"
        else
            _millrace_words "$(_millrace_parameters "${COMP_WORDS[2]}")"
            [[ ${#COMPREPLY[@]} -gt 0 && $current != "" ]] && compopt -o nospace 2>/dev/null
        fi
        _millrace_files
        ;;
    esac
}

complete -F _millrace millrace
