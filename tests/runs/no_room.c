/* Preloaded into a process: writing to paths that hold the text $FAULT_AT fails with errno $FAULT_ERRNO.

Both are read at every call, so that a process can change its own faults. ENOSPC and its like come from writing to a
file, EROFS and its like from opening it for writing, making a folder or renaming. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(const char *path, int writing) {
  const char *at = getenv("FAULT_AT"), *code = getenv("FAULT_ERRNO");
  if (!at || !*at || !code || !path || !strstr(path, at)) return 0;
  int number = atoi(code), room = number == ENOSPC || number == EDQUOT || number == EFBIG || number == EIO;
  if (room != writing) return 0;
  errno = number;
  return 1;
}

static int fd_fails(int fd) {
  char link[64], path[4096];
  int before = errno;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  errno = before;
  if (size < 0) return 0;
  path[size] = 0;
  return fails(path, 1);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITE(name, type, parameters, arguments) \
  type name parameters { return fd_fails(fd) ? -1 : REAL(name) arguments; }

WRITE(write, ssize_t, (int fd, const void *data, size_t size), (fd, data, size))
WRITE(pwrite, ssize_t, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
WRITE(pwrite64, ssize_t, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
WRITE(writev, ssize_t, (int fd, const struct iovec *parts, int count), (fd, parts, count))
WRITE(pwritev, ssize_t, (int fd, const struct iovec *parts, int count, off_t at), (fd, parts, count, at))
WRITE(pwritev64, ssize_t, (int fd, const struct iovec *parts, int count, off64_t at), (fd, parts, count, at))
WRITE(fallocate, int, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
WRITE(fallocate64, int, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))

static int writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT; }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    int mode = writes(flags) ? va_arg(rest, int) : 0; \
    va_end(rest); \
    return writes(flags) && fails(path, 0) ? -1 : REAL(name)(path, flags, mode); \
  }
#define OPENAT(name) \
  int name(int folder, const char *path, int flags, ...) { \
    va_list rest; \
    va_start(rest, flags); \
    int mode = writes(flags) ? va_arg(rest, int) : 0; \
    va_end(rest); \
    return writes(flags) && fails(path, 0) ? -1 : REAL(name)(folder, path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int mkdir(const char *path, mode_t mode) { return fails(path, 0) ? -1 : REAL(mkdir)(path, mode); }
int rename(const char *from, const char *to) { return fails(to, 0) ? -1 : REAL(rename)(from, to); }
