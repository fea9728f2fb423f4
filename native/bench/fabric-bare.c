/* What libfabric gives a bare C program: one-sided READ or WRITE between two processes, in the mode
 * that the fabric rail uses (RDM endpoints, one thread per side, sleeping in trywait + poll, writes
 * delivery-complete). The baseline of the fabric bench; prints GB/s (1e9 bytes) on one line.
 *
 *   cc -O2 fabric-bare.c -lfabric -o fabric-bare
 *   fabric-bare PROVIDER ADDRESS read|write BLOCK-BYTES DEPTH POOL-BYTES SECONDS
 */
#define _GNU_SOURCE
#include <poll.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(call)                                                             \
  do {                                                                          \
    long rc_ = (long)(call);                                                    \
    if (rc_ < 0) {                                                              \
      fprintf(stderr, "%s: %s\n", #call, fi_strerror((int)-rc_));               \
      exit(1);                                                                  \
    }                                                                           \
  } while (0)

struct side {
  struct fi_info *info;
  struct fid_fabric *fabric;
  struct fid_domain *domain;
  struct fid_av *av;
  struct fid_cq *cq;
  struct fid_ep *ep;
  struct fid_mr *mr;
  int fd;
  char *pool;
};

struct hello {
  char name[256];
  size_t size;
  uint64_t key, base;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void open_side(struct side *s, const char *provider, const char *address, size_t bytes) {
  struct fi_info *hints = fi_allocinfo();
  hints->caps = FI_MSG | FI_RMA | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
  hints->mode = FI_CONTEXT | FI_CONTEXT2;
  hints->ep_attr->type = FI_EP_RDM;
  hints->fabric_attr->prov_name = strdup(provider);
  hints->domain_attr->threading = FI_THREAD_DOMAIN;
  hints->domain_attr->mr_mode =
      FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT;
  CHECK(fi_getinfo(FI_VERSION(1, 14), address, NULL, FI_SOURCE, hints, &s->info));
  CHECK(fi_fabric(s->info->fabric_attr, &s->fabric, NULL));
  CHECK(fi_domain(s->fabric, s->info, &s->domain, NULL));
  struct fi_av_attr av = {.type = s->info->domain_attr->av_type};
  CHECK(fi_av_open(s->domain, &av, &s->av, NULL));
  struct fi_cq_attr cq = {.size = 512, .format = FI_CQ_FORMAT_CONTEXT, .wait_obj = FI_WAIT_FD};
  CHECK(fi_cq_open(s->domain, &cq, &s->cq, NULL));
  CHECK(fi_control(&s->cq->fid, FI_GETWAIT, &s->fd));
  CHECK(fi_endpoint(s->domain, s->info, &s->ep, NULL));
  CHECK(fi_ep_bind(s->ep, &s->av->fid, 0));
  CHECK(fi_ep_bind(s->ep, &s->cq->fid, FI_TRANSMIT | FI_RECV));
  CHECK(fi_enable(s->ep));
  s->pool = mmap(NULL, bytes + (2 << 20), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  s->pool = (char *)(((uintptr_t)s->pool + (2 << 20) - 1) & ~(uintptr_t)((2 << 20) - 1));
  madvise(s->pool, bytes, MADV_HUGEPAGE);
  memset(s->pool, 0x5a, bytes);
  uint64_t access = FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
  CHECK(fi_mr_reg(s->domain, s->pool, bytes, access, 0, 1, 0, &s->mr, NULL));
  if (s->info->domain_attr->mr_mode & FI_MR_ENDPOINT) {
    CHECK(fi_mr_bind(s->mr, &s->ep->fid, 0));
    CHECK(fi_mr_enable(s->mr));
  }
}

static void sleep_on(struct side *s) {
  struct fid *fid = &s->cq->fid;
  if (fi_trywait(s->fabric, &fid, 1) != FI_SUCCESS) return;
  struct pollfd fd = {.fd = s->fd, .events = POLLIN};
  poll(&fd, 1, 100);
}

static void serve(const char *provider, const char *address, size_t bytes, int out) {
  struct side s = {0};
  open_side(&s, provider, address, bytes);
  struct hello hello = {.size = sizeof hello.name, .key = fi_mr_key(s.mr)};
  CHECK(fi_getname(&s.ep->fid, hello.name, &hello.size));
  if (s.info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) hello.base = (uintptr_t)s.pool;
  if (write(out, &hello, sizeof hello) != sizeof hello) exit(1);
  for (;;) {
    struct fi_cq_entry entry;
    fi_cq_read(s.cq, &entry, 1);
    sleep_on(&s);
  }
}

int main(int argc, char **argv) {
  if (argc != 8) {
    fprintf(stderr, "usage: %s PROVIDER ADDRESS read|write BLOCK DEPTH POOL SECONDS\n", argv[0]);
    return 2;
  }
  setenv("FI_UNIVERSE_SIZE", "16", 0);
  int reading = strcmp(argv[3], "read") == 0;
  size_t block = strtoull(argv[4], NULL, 10), pool = strtoull(argv[6], NULL, 10);
  int depth = atoi(argv[5]);
  double seconds = atof(argv[7]);
  int fds[2];
  CHECK(pipe(fds));
  pid_t target = fork();
  if (target == 0) serve(argv[1], argv[2], pool, fds[1]);

  struct side s = {0};
  open_side(&s, argv[1], argv[2], pool);
  struct hello hello;
  if (read(fds[0], &hello, sizeof hello) != sizeof hello) return 1;
  fi_addr_t peer;
  CHECK(fi_av_insert(s.av, hello.name, 1, &peer, 0, NULL) == 1 ? 0 : -FI_EINVAL);
  struct fi_context2 *contexts = calloc(depth, sizeof *contexts);
  int *idle = calloc(depth, sizeof *idle);
  int idles = depth;
  for (int i = 0; i < depth; i++) idle[i] = i;
  void *desc = fi_mr_desc(s.mr);
  size_t blocks = pool / block, next = 0, done = 0, counted = 0;
  double start = now(), end = 0;

  /* A tenth of the time warms up; the clock of what counts starts at the first completion after. */
  for (;;) {
    double t = now();
    if (end == 0 && t - start > seconds * 0.1 && done > 0) {
      start = t;
      end = t + seconds;
      counted = done;
    }
    if (end != 0 && t >= end) break;
    while (idles > 0) {
      size_t at = (next % blocks) * block;
      void *context = &contexts[idle[idles - 1]];
      uint64_t remote = hello.base + at;
      ssize_t rc;
      if (reading) {
        rc = fi_read(s.ep, s.pool + at, block, desc, peer, remote, hello.key, context);
      } else {
        struct iovec iov = {s.pool + at, block};
        struct fi_rma_iov rma = {remote, block, hello.key};
        struct fi_msg_rma message = {&iov, &desc, 1, peer, &rma, 1, context, 0};
        rc = fi_writemsg(s.ep, &message, FI_COMPLETION | FI_DELIVERY_COMPLETE);
      }
      if (rc == -FI_EAGAIN) break;
      CHECK(rc);
      idles--;
      next++;
    }
    struct fi_cq_entry entries[64];
    ssize_t n = fi_cq_read(s.cq, entries, 64);
    if (n == -FI_EAGAIN) {
      sleep_on(&s);
      continue;
    }
    CHECK(n);
    for (ssize_t i = 0; i < n; i++) {
      idle[idles++] = (int)((struct fi_context2 *)entries[i].op_context - contexts);
      done++;
    }
  }
  printf("%.4f\n", (double)(done - counted) * block / (now() - start) / 1e9);
  kill(target, SIGKILL);
  waitpid(target, NULL, 0);
  return 0;
}
