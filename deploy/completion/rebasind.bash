# bash completion for rebasind; made by deploy/completion/generate.py. Put it into
# /usr/share/bash-completion/completions/rebasind, or source it.
_rebasind() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=
    case $before in
    --data-dir|--import-root|--output|--to) COMPREPLY=($(compgen -d -- "$current")); return ;;
    --config|--token-file) COMPREPLY=($(compgen -f -- "$current")); return ;;
    --log-format) COMPREPLY=($(compgen -W 'text json' -- "$current")); return ;;
    --log-level) COMPREPLY=($(compgen -W 'debug info warn error' -- "$current")); return ;;
    --sandbox) COMPREPLY=($(compgen -W 'auto require off' -- "$current")); return ;;
    --scopes) COMPREPLY=($(compgen -W 'read submit admin' -- "$current")); return ;;
    esac
    if ((COMP_CWORD == 1)) && [[ $current != -* ]]; then
        COMPREPLY=($(compgen -W 'serve run inspect export check-config health token work version help' -- "$current"))
        return
    fi
    case ${COMP_WORDS[1]} in
    serve) words='--allowed-hosts --allowed-origins --body-timeout --config --data-dir --drain-timeout --executor --header-timeout --help --import-root --keep-artifacts --keep-jobs --listen --log-format --log-level --max-body-bytes --max-connections --max-connections-per-address --max-upload-bytes --mem --memory-limit --moments-cache-bytes --partition --queue-limit --route-prefix --sandbox --shared-dir --slurm-options --slurm-points-per-task --time --token-file --trusted-proxies --workers' ;;
    run) words='--config --data-dir --help --import-root --json --memory-limit --output --set --workers' ;;
    inspect) words='--help --json' ;;
    export) words='--config --data-dir --help --lambda --to' ;;
    check-config) words='--allowed-hosts --allowed-origins --body-timeout --config --data-dir --drain-timeout --executor --header-timeout --help --import-root --keep-artifacts --keep-jobs --listen --log-format --log-level --max-body-bytes --max-connections --max-connections-per-address --max-upload-bytes --mem --memory-limit --moments-cache-bytes --partition --queue-limit --route-prefix --sandbox --shared-dir --slurm-options --slurm-points-per-task --time --token-file --trusted-proxies --workers' ;;
    health) words='--config --data-dir --help --listen --route-prefix' ;;
    token) words='--bytes --config --data-dir --expires --help --name --queued --running --scopes' ;;
    work) words='--config --data-dir --help --task --unit --workers' ;;
    version) words='--help --json' ;;
    help) words='--help' ;;
    *) words='--allowed-hosts --allowed-origins --body-timeout --config --data-dir --drain-timeout --executor --header-timeout --help --import-root --keep-artifacts --keep-jobs --listen --log-format --log-level --max-body-bytes --max-connections --max-connections-per-address --max-upload-bytes --mem --memory-limit --moments-cache-bytes --partition --queue-limit --route-prefix --sandbox --shared-dir --slurm-options --slurm-points-per-task --time --token-file --trusted-proxies --workers' ;;
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    elif [[ ${COMP_WORDS[1]} == token ]]; then
        ((COMP_CWORD == 2)) && COMPREPLY=($(compgen -W 'create list revoke' -- "$current"))
    elif [[ ${COMP_WORDS[1]} == help ]]; then
        COMPREPLY=($(compgen -W 'serve run inspect export check-config health token work version help' -- "$current"))
    elif [[ " run inspect work " == *" ${COMP_WORDS[1]} "* ]]; then
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -F _rebasind rebasind
