/*
 * The fence rule (docs/algorithm.md: N4 to N7, N9, R1, R2) as a specification that shares nothing with the code.
 *
 * Two proposers make two attempts each, one after the other, at three nodes. An attempt may win once a quorum granted
 * it, and may give up at any moment, granted or not; once it is over its release is on its way as well. What was sent
 * may arrive at any later moment, at any node, again, or never. Any lock may vanish at any moment. There is no clock:
 * proposals are chosen freely, so that every order of them occurs, equal ones included.
 *
 *   S2  an attempt that starts after a lease was won wins with a larger fence, or not at all
 *   S3  no two leases share a fence
 *   S9  a node that executed an attempt's release never has its lock again
 *
 * Three variants are wrong, and must be refuted: NO_N7 grants any proposal, EQUAL_N7 grants a proposal that equals the
 * fence, NO_R2 leaves no tombstone.
 *
 * What is alike is looked at once: after every step the nodes are put into a fixed order, votes that nobody will count
 * any more are forgotten, and of two choices of proposals that differ in the names of the proposers, or in gaps between
 * the numbers, one is taken.
 */
#ifndef NODES
#define NODES 3
#endif
#define QUORUM (NODES / 2 + 1)
#define ATTEMPTS 4 /* 0 and 1 are one proposer's, 2 and 3 the other's */
#define NOBODY ATTEMPTS

#define IDLE 0
#define ASKING 1
#define WON 2
#define OVER 3

/* By node; sets of attempts are bits. */
byte holder[NODES] = NOBODY;
byte fence[NODES];
byte votes[NODES]; /* whom it granted, of those who still count */
byte gone[NODES];  /* whose release it executed */

/* By attempt. */
byte proposal[ATTEMPTS];
byte phase[ATTEMPTS];
bit leased[ATTEMPTS]; /* it was WON, now or before */
bit late[ATTEMPTS];   /* a lease with no smaller fence had been won when it started */

hidden byte i, j, swapped;

#define HAS(set, a) (((set) >> (a)) & 1)
#define VOTES_OF(a) (HAS(votes[0], a) + HAS(votes[1], a) + HAS(votes[2], a))

#define SHARES(a, b) (a != b && leased[b] && proposal[b] == proposal[a])
#define IS_SHARED(a) (SHARES(a, 0) || SHARES(a, 1) || SHARES(a, 2) || SHARES(a, 3))
#define BEATS(b, a) (leased[b] && proposal[b] >= proposal[a])
#define IS_BEATEN(a) (BEATS(0, a) || BEATS(1, a) || BEATS(2, a) || BEATS(3, a))

#ifdef NO_N7
#define STALE(a, n) false
#else
#ifdef EQUAL_N7
#define STALE(a, n) (proposal[a] < fence[n])
#else
#define STALE(a, n) (proposal[a] <= fence[n])
#endif
#endif

/* N4 to N7 and N9; a vote counts while its attempt asks. */
inline acquire(a, n) {
  if
  :: holder[n] == a && fence[n] == proposal[a] -> vote(a, n) /* N5 */
  :: holder[n] == NOBODY && !STALE(a, n) ->
     fence[n] = proposal[a];
     holder[n] = a;
     vote(a, n)
  :: else /* N5, N6, N7: refused */
  fi;
  assert(!(holder[n] == a && HAS(gone[n], a))) /* S9 */
}

inline vote(a, n) {
  if
  :: phase[a] == ASKING -> votes[n] = votes[n] | (1 << a)
  :: else
  fi
}

inline release(a, n) {
  if
  :: holder[n] == a -> holder[n] = NOBODY /* R1 */
  :: else
  fi;
#ifndef NO_R2
  if
  :: fence[n] < proposal[a] -> fence[n] = proposal[a] /* R2 */
  :: else
  fi;
#endif
  gone[n] = gone[n] | (1 << a)
}

inline start(a) {
  late[a] = IS_BEATEN(a);
  phase[a] = ASKING
}

inline win(a) {
  assert(!IS_SHARED(a)); /* S3 */
  assert(!late[a]);      /* S2 */
  leased[a] = 1;
  phase[a] = WON;
  forget(a)
}

inline finish(a) {
  phase[a] = OVER;
  forget(a)
}

inline forget(a) {
  late[a] = 0;
  for (i : 0 .. NODES - 1) {
    votes[i] = votes[i] & ~(1 << a)
  }
}

#define KEY(n) ((((holder[n] * 5 + fence[n]) * 16 + votes[n]) * 16) + gone[n])

#define SWAP(array, n, m) \
  swapped = array[n]; \
  array[n] = array[m]; \
  array[m] = swapped

inline order(n, m) {
  if
  :: KEY(n) > KEY(m) ->
     SWAP(holder, n, m);
     SWAP(fence, n, m);
     SWAP(votes, n, m);
     SWAP(gone, n, m)
  :: else
  fi
}

inline sort() {
  order(0, 1);
  order(1, 2);
  order(0, 1)
}

#define ARRIVES_AT(n, a) \
  :: d_step { phase[a] != IDLE -> acquire(a, n); sort() } \
  :: d_step { phase[a] == OVER -> release(a, n); sort() }

#define DOES(a, isNext) \
  :: d_step { phase[a] == IDLE && (isNext) -> start(a) } \
  :: d_step { phase[a] == ASKING && VOTES_OF(a) >= QUORUM -> win(a); sort() } \
  :: d_step { phase[a] == ASKING || phase[a] == WON -> finish(a); sort() } \
  ARRIVES_AT(0, a) \
  ARRIVES_AT(1, a) \
  ARRIVES_AT(2, a)

#define EXPIRES(n) \
  :: d_step { holder[n] != NOBODY -> holder[n] = NOBODY; sort() }

/* Numbers from 1 without gaps, and the first proposer's are not after the second's. */
#define ANY(p) (proposal[0] == (p) || proposal[1] == (p) || proposal[2] == (p) || proposal[3] == (p))
#define HAS_NO_GAPS (ANY(1) && (ANY(2) || !(ANY(3) || ANY(4))) && (ANY(3) || !ANY(4)))
#define IN_ORDER (proposal[0] * 5 + proposal[1] <= proposal[2] * 5 + proposal[3])

active proctype Everything() {
  atomic {
    for (j : 0 .. ATTEMPTS - 1) {
      select (i : 1 .. ATTEMPTS);
      proposal[j] = i
    };
    HAS_NO_GAPS && IN_ORDER
  };
  do
  DOES(0, true)
  DOES(1, phase[0] == OVER)
  DOES(2, true)
  DOES(3, phase[2] == OVER)
  EXPIRES(0)
  EXPIRES(1)
  EXPIRES(2)
  od
}
