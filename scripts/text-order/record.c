// Records which parts of a static program run: single-steps it and all its
// children and prints the address of each instruction that was executed.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: record LOW HIGH OUTPUT PROGRAM [ARG...]\n"), 2;
    unsigned long low = strtoul(argv[1], 0, 0), high = strtoul(argv[2], 0, 0);
    unsigned char *seen = calloc(high - low, 1);
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        execv(argv[4], argv + 4);
        _exit(127);
    }
    int status, code = 0;
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, 0, PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC);
    ptrace(PTRACE_SINGLESTEP, first, 0, 0);
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0) { if (errno == EINTR) continue; break; }
        if (WIFEXITED(status) || WIFSIGNALED(status)) { if (pid == first) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); continue; }
        int sig = WSTOPSIG(status);
        if (sig == SIGTRAP || sig == SIGSTOP) {
            struct user_regs_struct regs;
            if (sig == SIGTRAP && ptrace(PTRACE_GETREGS, pid, 0, &regs) == 0 && regs.rip >= low && regs.rip < high)
                seen[regs.rip - low] = 1;
            sig = 0;
        }
        ptrace(PTRACE_SINGLESTEP, pid, 0, sig);
    }
    FILE *output = fopen(argv[3], "w");
    if (!output) return perror(argv[3]), 1;
    for (unsigned long i = 0; i < high - low; i++)
        if (seen[i]) fprintf(output, "%lx\n", low + i);
    if (fclose(output)) return perror(argv[3]), 1;
    return code;
}
