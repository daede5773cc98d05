/* The system calls the daemon may make, as a table, and the filter made from it (seccomp(2)).
 *
 * Refused calls answer ENOSYS, for which libraries have their second way; restricted ones with
 * other arguments than the table's answer EPERM; what only an intruder calls ends the process. The
 * filter is walked in order, but the kernel remembers calls that are always allowed (5.11 on), so
 * its length costs nothing. Whoever adds a library or a call to the daemon finds a missing row by
 * `strace -f -e status=failed` or, from outside, as ENOSYS. */
#include "server/base/sandbox_internal.h"
#include "server/base/sandbox_seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

/* clang-format off */
static const int allowed[] = {
    /* memory */
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_msync,
    /* threads and signals */
    SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_set_tid_address, SYS_exit, SYS_exit_group,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_tgkill,
    SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_setpriority, SYS_getpriority, SYS_membarrier,
    /* time and figures */
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
    SYS_getrusage, SYS_prlimit64, SYS_sysinfo, SYS_uname, SYS_getrandom, SYS_umask, SYS_getcwd,
    /* files; which ones is Landlock's part */
    SYS_openat, SYS_openat2, SYS_close, SYS_read, SYS_pread64, SYS_readv, SYS_preadv, SYS_write,
    SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_sendfile, SYS_copy_file_range, SYS_lseek, SYS_fstat,
    SYS_newfstatat, SYS_statx, SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getdents64,
    SYS_mkdirat, SYS_unlinkat, SYS_linkat, SYS_renameat, SYS_renameat2, SYS_fsync, SYS_fdatasync,
    SYS_sync_file_range, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_flock, SYS_fcntl,
    SYS_dup, SYS_dup3, SYS_fchmod, SYS_statfs, SYS_fstatfs,
    /* connections and the loop */
    SYS_bind, SYS_listen, SYS_accept4, SYS_getsockname, SYS_getpeername, SYS_setsockopt,
    SYS_getsockopt, SYS_sendto, SYS_sendmsg, SYS_recvfrom, SYS_recvmsg, SYS_shutdown, SYS_pipe2,
    SYS_eventfd2, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_ppoll, SYS_pselect6,
#ifdef SYS_open /* their older forms, which newer architectures never had */
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_mkdir, SYS_rmdir, SYS_unlink,
    SYS_rename, SYS_dup2, SYS_accept, SYS_pipe, SYS_epoll_wait, SYS_poll, SYS_select, SYS_time,
#endif
};
/* clang-format on */

/* Allowed if argument `argument`, its lower 32 bits, is `value` in the bits of `mask`. */
static const struct condition {
    int call;
    unsigned argument;
    uint32_t mask, value;
} conditions[] = {
    {SYS_mmap, 2, PROT_EXEC, 0},
    {SYS_mprotect, 2, PROT_EXEC, 0},
    {SYS_clone, 0, CLONE_THREAD, CLONE_THREAD},
    {SYS_socket, 0, UINT32_MAX, AF_UNIX},
    {SYS_socket, 0, UINT32_MAX, AF_INET},
    {SYS_socket, 0, UINT32_MAX, AF_INET6},
    {SYS_ioctl, 1, UINT32_MAX, FIONBIO},
    {SYS_ioctl, 1, UINT32_MAX, FIOCLEX},
    {SYS_ioctl, 1, UINT32_MAX, FIONREAD},
    {SYS_ioctl, 1, UINT32_MAX, TCGETS},
    {SYS_ioctl, 1, UINT32_MAX, TIOCGWINSZ},
    {SYS_prctl, 0, UINT32_MAX, PR_SET_NAME},
#ifdef PR_SET_VMA
    {SYS_prctl, 0, UINT32_MAX, PR_SET_VMA}, /* the allocator names its arenas */
#endif
};

/* clang-format off */
static const int deadly[] = {
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_bpf,
    SYS_userfaultfd, SYS_perf_event_open, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_mount,
    SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_setns, SYS_unshare, SYS_open_tree, SYS_move_mount,
    SYS_fsopen, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot,
    SYS_swapon, SYS_swapoff, SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid,
    SYS_setresgid, SYS_capset, SYS_personality, SYS_open_by_handle_at, SYS_mknodat,
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum {
    PER_CALL = 2,
    PER_CONDITION = 6,
    CAPACITY = 5 + PER_CALL * (COUNT(allowed) + COUNT(conditions) + COUNT(deadly)) +
               PER_CONDITION * COUNT(conditions),
};

struct program {
    struct sock_filter code[CAPACITY];
    unsigned short length;
};

static void emit(struct program *p, struct sock_filter instruction)
{
    p->code[p->length++] = instruction;
}

static void load(struct program *p, size_t offset)
{
    emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void if_call(struct program *p, int call, uint32_t action)
{
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1));
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Both architectures are little-endian: an argument's lower half comes first. */
static void if_condition(struct program *p, const struct condition *c)
{
    size_t offset = offsetof(struct seccomp_data, args) + c->argument * sizeof(uint64_t);
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)c->call, 0, 5));
    load(p, offset);
    emit(p, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, c->mask));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, c->value, 0, 1));
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    load(p, offsetof(struct seccomp_data, nr));
}

static void compile(struct program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0));
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    load(p, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < COUNT(allowed); i++)
        if_call(p, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < COUNT(conditions); i++)
        if_condition(p, &conditions[i]);
    for (size_t i = 0; i < COUNT(conditions); i++)
        if_call(p, conditions[i].call, SECCOMP_RET_ERRNO | EPERM);
    for (size_t i = 0; i < COUNT(deadly); i++)
        if_call(p, deadly[i], SECCOMP_RET_KILL_PROCESS);
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
}

void rb_sandbox_seccomp(struct rb_sandbox_outcome *ret)
{
    struct program p = {.length = 0};
    compile(&p);
    const struct sock_fprog filter = {.len = p.length, .filter = p.code};
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    if (result == 0)
        rb_sandbox_outcome_set(ret, RB_SANDBOX_ON, "%zu calls, %zu of them in part",
                               COUNT(allowed) + COUNT(conditions), COUNT(conditions));
    else if (result > 0)
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "thread %ld cannot take the filter", result);
    else
        rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "not applied: %s", strerror(errno));
}

#else

void rb_sandbox_seccomp(struct rb_sandbox_outcome *ret)
{
    rb_sandbox_outcome_set(ret, RB_SANDBOX_OFF, "no table for this architecture");
}

#endif
