#!/bin/sh
# Slurm's Prolog: starts a recorder of this node's devices for the job, as run job-ID. slurm.conf:
#   Prolog=/etc/thermograd/prolog.sh
#   Epilog=/etc/thermograd/epilog.sh
# A prolog that fails drains its node, and one that takes long delays the job: this one waits for nothing and returns
# 0 whatever happens. The recorder has a session of its own and none of slurmd's pipes, so no time-out of the prolog
# ends it; it ends with the epilog, and by itself after AGENT_HOURS (default 168) should the epilog not come.
# The recorder has the cluster's credentials in its environment, and a configuration can send them anywhere: it reads
# only the one that agent.env names, or none, and never stands in a folder that everybody writes to.
settings="${THERMOGRAD_AGENT_ENV:-/etc/thermograd/agent.env}"

is_guarded() { # only its owner writes to it
    [ -d "$1" ] && [ -z "$(find -H "$1" -prune \( -perm -020 -o -perm -002 \))" ]
}

refused() {
    echo "thermograd: job $SLURM_JOB_ID is not recorded: others may write to $1" >&2
}

start() {
    set -a
    [ ! -r "$settings" ] || . "$settings"
    : "${THERMOGRAD_CONFIG:=/dev/null}"
    set +a
    state="${THERMOGRAD_STATE:-/run/thermograd}"
    umask 077
    mkdir -p "$state" || return
    directory="${AGENT_DIRECTORY:-/}"
    [ -O "$state" ] && is_guarded "$state" || { refused "$state"; return; }
    is_guarded "$directory" || { refused "$directory"; return; }
    as_user=""
    # Not runuser or su: they stay between, and kill what has not ended two seconds after a SIGTERM.
    [ -z "$AGENT_USER" ] || as_user="setpriv --reuid=$AGENT_USER --regid=$AGENT_USER --init-groups --"
    cd "$directory" || return
    # setsid: the recorder's process ID is that of the new session, written before it becomes the recorder.
    # shellcheck disable=SC2016,SC2086
    setsid sh -c 'echo $$ >"$0" && exec "$@"' "$state/$SLURM_JOB_ID.pid" \
        $as_user "${AGENT_PROGRAM:-thermograd}" record --name "job-$SLURM_JOB_ID" \
        --duration "$((${AGENT_HOURS:-168} * 3600))" $AGENT_OPTIONS \
        </dev/null >"$state/$SLURM_JOB_ID.log" 2>&1 &
}

case "$SLURM_JOB_ID" in
    "" | *[!0-9]*) ;;
    *) start ;;
esac
exit 0
