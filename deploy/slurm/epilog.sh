#!/bin/sh
# Slurm's Epilog: ends the recorder that prolog.sh started for the job. It is told to end (SIGTERM: it seals its run
# and ships the rest) and killed only if it is still there after AGENT_GRACE_S (default 120); nobody waits for that.
# An epilog that fails drains its node: this one returns 0 whatever happens.
settings="${THERMOGRAD_AGENT_ENV:-/etc/thermograd/agent.env}"

is_ours() { # a process ID may belong to somebody else by now
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -q -- "record --name job-$SLURM_JOB_ID "
}

end() {
    [ ! -r "$settings" ] || . "$settings"
    state="${THERMOGRAD_STATE:-/run/thermograd}"
    pid="$(cat "$state/$SLURM_JOB_ID.pid" 2>/dev/null)"
    rm -f "$state/$SLURM_JOB_ID.pid"
    if [ -n "$pid" ] && is_ours "$pid"; then
        kill -s TERM -- "-$pid"
        (
            left="${AGENT_GRACE_S:-120}"
            while [ "$left" -gt 0 ] && is_ours "$pid"; do
                sleep 1
                left=$((left - 1))
            done
            ! is_ours "$pid" || kill -s KILL -- "-$pid"
            rm -f "$state/$SLURM_JOB_ID.log"
        ) </dev/null >/dev/null 2>&1 &
    else
        rm -f "$state/$SLURM_JOB_ID.log" # the recorder has ended before
    fi
}

case "$SLURM_JOB_ID" in
    "" | *[!0-9]*) ;;
    *) end ;;
esac
exit 0
