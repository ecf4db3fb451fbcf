//! The help text.

pub(super) const GENERAL: &str = "\
cove oci - runs containers from bundles of the OCI runtime specification

USAGE:
   cove oci [global options] command [command options] [arguments...]

COMMANDS:
   create      create a container
   start       run the program of a created container
   run         create and start a container
   exec        run another process in a container
   state       print the state of a container
   kill        send a signal to a container's first process (TERM unless told)
   delete      remove a container
   list        list containers
   ps          list the processes of a container
   pause       freeze a container's processes
   resume      let them go on
   update      change limits
   events      print usage and out-of-memory events
   spec        write a config.json to start from
   features    print what this runtime can do

EXEC:
   exec [options] ID COMMAND... starts from the container's own process, which
   --cwd, --env, --tty, --user, --additional-gids, --cap, --no-new-privs,
   --apparmor and --process-label change.
   exec --process FILE [options] ID takes the process from FILE. As with runc,
   the options above have no effect then, and what FILE says nothing of comes
   from the container: AppArmor profile, process label, rlimits, capabilities,
   OOM score, scheduler, I/O priority and execCPUAffinity.

GLOBAL OPTIONS:
   --root DIR             where state is kept (default /run/cove/oci, or
                          $XDG_RUNTIME_DIR/cove/oci for other users than root)
   --log FILE             write errors to FILE as well
   --log-format FORMAT    text (default) or json
   --debug                write more to the log
   --systemd-cgroup       cgroupsPath is slice:prefix:name, made by systemd
   --rootless true|false|auto
                          whose default for --root holds (auto: the user's)
   --help, -h
   --version, -v
";
