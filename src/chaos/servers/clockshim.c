/*
 * A wall clock that can be wrong, for one process: preloaded, it answers for CLOCK_REALTIME what a control file says, and leaves every
 * other clock alone. The file is mapped, so that a change is seen by the very next reading; node-clock.ts writes it.
 *
 * The real time is asked of the kernel directly. Looking up libc's own functions (dlsym) may allocate, and an allocator that reads the
 * clock while it starts would then wait for itself.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOS 1000000000LL
/* A writer killed half-way leaves the sequence odd for ever; then a torn reading is better than none. */
#define MAX_TRIES 1000000

/* fake = base_fake + (real - base_real) * rate, rate in parts per 10^9. The sequence is odd while the rest is being written. */
struct control {
  _Atomic uint64_t sequence;
  _Atomic int64_t base_real, base_fake, rate;
};

static const struct control *control;

__attribute__((constructor)) static void map_control_file(void) {
  const char *path = getenv("HOLDFAST_CLOCK_FILE");
  int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof(struct control), PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) control = mapped;
}

static int64_t real_now(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return now.tv_sec * NANOS + now.tv_nsec;
}

static int64_t fake_now(void) {
  if (control == NULL) return real_now();
  int64_t fake = 0;
  for (int tries = 0; tries < MAX_TRIES; tries++) {
    uint64_t sequence = atomic_load(&control->sequence);
    /* Read after the sequence: a change made in between must not be applied to a reading from before it. */
    __int128 passed = real_now() - atomic_load(&control->base_real);
    fake = atomic_load(&control->base_fake) + (int64_t)(passed * atomic_load(&control->rate) / NANOS);
    if ((sequence & 1) == 0 && sequence == atomic_load(&control->sequence)) break;
  }
  return fake;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return syscall(SYS_clock_gettime, clock, now);
  int64_t fake = fake_now();
  now->tv_sec = fake / NANOS;
  now->tv_nsec = fake % NANOS;
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  int64_t micros = fake_now() / 1000;
  now->tv_sec = micros / 1000000;
  now->tv_usec = micros % 1000000;
  return 0;
}

time_t time(time_t *now) {
  time_t seconds = fake_now() / NANOS;
  if (now != NULL) *now = seconds;
  return seconds;
}
