# Ends what a test process started once that process is gone, however it went. Reads one order per line:
#   add PGID   a process group that is to end with the test process
#   del PGID   that group has ended and its number may belong to somebody else
# End of file means that the test process has ended: nobody else holds the write end of this pipe.
# $1: the mark that every process of the test bed carries in its environment. $2: the directory to remove, or nothing.
trap '' HUP INT QUIT TERM
mark=$1
directory=$2
groups=' '
while read -r order group; do
  case $order in
    add) groups="$groups$group " ;;
    del) case $groups in *" $group "*) groups="${groups%%" $group "*} ${groups#*" $group "}" ;; esac ;;
  esac
done
for group in $groups; do
  # Not `kill -KILL --`, which dash takes for a process named "-".
  kill -s KILL -- "-$group" 2>/dev/null
done
# Second net: what left its group (sshd gives each connection a session of its own) still has the mark. Linux only.
if [ -r /proc/self/environ ]; then
  for _ in 1 2 3 4 5; do
    marked=$(grep -lsF "$mark" /proc/[0-9]*/environ 2>/dev/null)
    [ -n "$marked" ] || break
    for file in $marked; do
      process=${file#/proc/}
      kill -s KILL "${process%/environ}" 2>/dev/null
    done
    sleep 0.1
  done
fi
if [ -n "$directory" ]; then
  # What was on its way to its end may have written meanwhile.
  for _ in 1 2 3 4 5; do
    rm -rf -- "$directory" && break
    sleep 1
  done
fi
