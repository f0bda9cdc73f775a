# The guardian of one test server: owns its directory and is its parent process.
#
# Reads orders on standard input and answers each with one line. The end of its input means that
# the test process is finished, however it ended: then the server, its children and the directory
# go too, also when the server is stopped. Started by guardian.rs with the parent of the new
# directory as its argument.

directory=$(mktemp -d "$1/dbvitals-XXXXXX") || exit 1
echo "$directory"
server=

while read -r order count; do
    case $order in
    start) # followed by the words of the command, one a line
        set --
        while [ $# -lt "$count" ]; do
            IFS= read -r word || break 2
            set -- "$@" "$word"
        done
        "$@" </dev/null >>"$directory/server.log" 2>&1 &
        server=$!
        echo "$server"
        ;;
    reap)
        wait "$server"
        server=
        echo reaped
        ;;
    esac
done

if [ -n "$server" ]; then
    kill -STOP "$server" # so that it starts no more children
    family=$server
    for status in $(grep -lsx "PPid:[[:space:]]*$server" /proc/[0-9]*/status); do
        child=${status#/proc/}
        family="$family ${child%/status}"
    done
    # The server's process first, unnoticed by it: a PostgreSQL would begin a crash recovery.
    for process in $family; do kill -KILL "$process"; done
    wait "$server"
fi

# A killed PostgreSQL leaves a shared memory segment, whose number is the last word of line 7.
if [ -r "$directory/data/postmaster.pid" ]; then
    ipcrm -m "$(sed -n '7s/.* //p' "$directory/data/postmaster.pid")"
fi

# Dying children may still write for a moment.
for attempt in 1 2 3 4 5 6 7 8 9; do
    rm -rf -- "$directory" && break
    sleep 0.1
done
