/* What a process asks of the file system below MOUNT_ROOT: counted, and answered after MOUNT_US. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static char known[65536];
static long calls[2];
long calls_of(int others) { return calls[others]; }
static long us = -1;
void answer_after(long now) { us = now; }
static void answer_later(void) {
  if (us < 0) us = atol(getenv("MOUNT_US") ? getenv("MOUNT_US") : "0");
  __sync_fetch_and_add(&calls[syscall(SYS_gettid) != getpid()], 1);
  struct timespec t = {us / 1000000, us % 1000000 * 1000L};
  if (us) nanosleep(&t, 0);
}
static int is_below(int at, const char *path) {
  static const char *root;
  if (!root) root = getenv("MOUNT_ROOT");
  if (!root || !path) return 0;
  if (*path != '/') return at >= 0 && at < 65536 && known[at];
  return !strncmp(path, root, strlen(root));
}
static int below(int at, const char *path) {
  int is = is_below(at, path);
  if (is) answer_later();
  return is;
}
static void fd_below(int fd) { if (fd >= 0 && fd < 65536 && known[fd]) answer_later(); }
/* A number that is free again may come back as a copy of another file's. */
int close(int fd) {
  if (fd >= 0 && fd < 65536) known[fd] = 0;
  return ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}
static int opened(int fd, int is) { if (fd >= 0 && fd < 65536) known[fd] = is; return fd; }
#define REAL(type, name, params) ((type (*) params)dlsym(RTLD_NEXT, #name))
#define MODE(flags) mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list a; va_start(a, flags); m = va_arg(a, mode_t); va_end(a); }
#define OPEN(name) int name(const char *p, int f, ...) { MODE(f) int is = below(-1, p); return opened(REAL(int, name, (const char *, int, ...))(p, f, m), is); }
#define OPENAT(name) int name(int d, const char *p, int f, ...) { MODE(f) int is = below(d, p); return opened(REAL(int, name, (int, const char *, int, ...))(d, p, f, m), is); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)
#define CALL(type, name, params, args, at, path) type name params { below(at, path); return REAL(type, name, params) args; }
CALL(int, rename, (const char *p, const char *q), (p, q), -1, p)
CALL(int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q), d, p)
CALL(int, link, (const char *p, const char *q), (p, q), -1, q)
CALL(int, linkat, (int d, const char *p, int e, const char *q, int f), (d, p, e, q, f), e, q)
CALL(int, unlink, (const char *p), (p), -1, p)
CALL(int, unlinkat, (int d, const char *p, int f), (d, p, f), d, p)
CALL(int, mkdir, (const char *p, mode_t m), (p, m), -1, p)
CALL(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), d, p)
CALL(int, chmod, (const char *p, mode_t m), (p, m), -1, p)
CALL(int, access, (const char *p, int m), (p, m), -1, p)
CALL(int, faccessat, (int d, const char *p, int m, int f), (d, p, m, f), d, p)
CALL(int, stat, (const char *p, struct stat *s), (p, s), -1, p)
CALL(int, lstat, (const char *p, struct stat *s), (p, s), -1, p)
CALL(int, stat64, (const char *p, struct stat64 *s), (p, s), -1, p)
CALL(int, lstat64, (const char *p, struct stat64 *s), (p, s), -1, p)
CALL(int, fstatat, (int d, const char *p, struct stat *s, int f), (d, p, s, f), d, p)
CALL(int, fstatat64, (int d, const char *p, struct stat64 *s, int f), (d, p, s, f), d, p)
#define FD_CALL(type, name, params, args, fd) type name params { fd_below(fd); return REAL(type, name, params) args; }
FD_CALL(DIR *, fdopendir, (int fd), (fd), fd)
FD_CALL(int, fstat, (int fd, struct stat *s), (fd, s), fd)
FD_CALL(int, fstat64, (int fd, struct stat64 *s), (fd, s), fd)
FD_CALL(int, fsync, (int fd), (fd), fd)
FD_CALL(int, fdatasync, (int fd), (fd), fd)
FD_CALL(int, flock, (int fd, int o), (fd, o), fd)
FD_CALL(ssize_t, read, (int fd, void *b, size_t n), (fd, b, n), fd)
FD_CALL(ssize_t, write, (int fd, const void *b, size_t n), (fd, b, n), fd)
FD_CALL(ssize_t, pread, (int fd, void *b, size_t n, off_t o), (fd, b, n, o), fd)
FD_CALL(ssize_t, pread64, (int fd, void *b, size_t n, off64_t o), (fd, b, n, o), fd)
FD_CALL(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), (fd, b, n, o), fd)
FD_CALL(ssize_t, pwrite64, (int fd, const void *b, size_t n, off64_t o), (fd, b, n, o), fd)
DIR *opendir(const char *p) { below(-1, p); return REAL(DIR *, opendir, (const char *))(p); }
