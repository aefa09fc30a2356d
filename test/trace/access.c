/* Touches files in ways that a trace must show exactly. Each argument is one action: MODE:PATH:OFFSET:LENGTH.
 *   r  pread in pieces of 1000 bytes      s  lseek and read in pieces of 700 bytes
 *   m  mmap, one byte of each 512 read    f  as r, in a child; all children run at the same time
 *   o  open only     t  stat only     l  readlink     d  list a directory     n  open what does not exist */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(9);
}

static int open_for_reading(const char *path) {
  int fd = open(path, O_RDONLY);
  if (fd < 0) fail(path);
  return fd;
}

static void read_range(const char *path, long offset, long length, long piece, int seek) {
  static char buffer[1000];
  int fd = open_for_reading(path);
  if (seek && lseek(fd, offset, SEEK_SET) != offset) fail("lseek");
  while (length > 0) {
    long want = length < piece ? length : piece;
    long got = seek ? read(fd, buffer, want) : pread(fd, buffer, want, offset);
    if (got <= 0) fail(path);
    offset += got;
    length -= got;
  }
  close(fd);
}

static void map_range(const char *path, long offset, long length) {
  struct stat st;
  volatile long sum = 0;
  int fd = open_for_reading(path);
  if (fstat(fd, &st) < 0) fail("fstat");
  char *map = mmap(0, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) fail("mmap");
  for (long at = offset; at < offset + length; at += 512) sum += map[at];
  sum += map[offset + length - 1];
  munmap(map, st.st_size);
  close(fd);
}

static void act(char mode, const char *path, long offset, long length) {
  char target[4096];
  struct stat st;
  switch (mode) {
    case 'r': read_range(path, offset, length, 1000, 0); break;
    case 's': read_range(path, offset, length, 700, 1); break;
    case 'm': map_range(path, offset, length); break;
    case 'f':
      if (fork() == 0) {
        read_range(path, offset, length, 1000, 0);
        _exit(0);
      }
      break;
    case 'o': close(open_for_reading(path)); break;
    case 't': if (lstat(path, &st) < 0) fail(path); break;
    case 'l': if (readlink(path, target, sizeof target) < 0) fail(path); break;
    case 'd': {
      DIR *dir = opendir(path);
      if (!dir) fail(path);
      while (readdir(dir)) {}
      closedir(dir);
      break;
    }
    case 'n': if (open(path, O_RDONLY) >= 0) fail("it exists"); break;
    default: fail("mode");
  }
}

int main(int argc, char **argv) {
  int status;
  for (int i = 1; i < argc; i++) {
    char mode = argv[i][0];
    char *path = argv[i] + 2;
    char *colon = strchr(path, ':');
    long offset = 0, length = 0;
    if (colon) {
      *colon = 0;
      sscanf(colon + 1, "%ld:%ld", &offset, &length);
    }
    act(mode, path, offset, length);
  }
  while (wait(&status) > 0)
    if (status != 0) return 8;
  puts("done");
  return 0;
}
