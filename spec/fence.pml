/*
 * The fence rule of holdfast (docs/algorithm.md: N4 to N9, R1, R2), as a specification that shares no code with it.
 *
 * Two clients, one with two attempts and one with one (with -DATTEMPTS=4: two each), on three nodes. What was sent may arrive at any node at any time, any number of times or
 * never; a lock may vanish from a node at any moment, as if it had expired. No clock is trusted, so none appears. Proposals are
 * chosen freely, equal ones included.
 *
 *   S2  an attempt that begins after a lease was won wins with a larger fence, or not at all
 *   S3  no two leases share a fence
 *   S9  a node that has executed a release never has that attempt's lock again
 *
 * With -DNO_N7 nodes grant any proposal, and with -DNO_R2 a release leaves no tombstone: both must be refuted.
 */
#define NODES 3
#define QUORUM 2
#ifndef ATTEMPTS
#define ATTEMPTS 3
#endif
#define LAST (ATTEMPTS - 1)
#define FREE 0

byte fence[NODES];
byte holder[NODES];          /* FREE, or the attempt's number + 1 */
byte gone[NODES];            /* by attempt, a bit: its release was executed here */
byte proposal[ATTEMPTS];
byte granted[ATTEMPTS];      /* by node, a bit: it has granted while the attempt was asking */
bit asked[ATTEMPTS];
bit asking[ATTEMPTS];
bit released[ATTEMPTS];
bit won[ATTEMPTS];
byte largest;                /* fence of all leases so far */

inline acquire(n, a) {
  if
  :: holder[n] == a + 1 ->   /* N5: a duplicate is granted where it is still the latest */
     if
     :: fence[n] == proposal[a] && asking[a] -> granted[a] = granted[a] | (1 << n)
     :: else
     fi
  :: holder[n] == FREE ->
#ifdef NO_N7
     if
     :: true ->
#else
     if
     :: proposal[a] > fence[n] ->  /* N7 */
#endif
#ifndef NO_N7
        assert(!(gone[n] & (1 << a)));  /* S9; without N7 it would hide that S2 and S3 break too */
#endif
        fence[n] = proposal[a];         /* N9 */
        holder[n] = a + 1;
        if
        :: asking[a] -> granted[a] = granted[a] | (1 << n)
        :: else
        fi
     :: else
     fi
  :: else                    /* N6: held by another */
  fi
}

inline release(n, a) {
  if
  :: holder[n] == a + 1 -> holder[n] = FREE  /* R1 */
  :: else
  fi;
#ifndef NO_R2
  if
  :: fence[n] < proposal[a] -> fence[n] = proposal[a]  /* R2 */
  :: else
  fi;
#endif
  gone[n] = gone[n] | (1 << a)
}

/* Delivers, doubles, delays and loses; and lets locks expire. */
active proctype Network() {
  byte n, a;
end:
  do
  :: atomic {
       select(n : 0 .. 2);
       select(a : 0 .. LAST);
       if
       :: asked[a] -> acquire(n, a)
       :: released[a] -> release(n, a)
       :: holder[n] != FREE -> holder[n] = FREE
       :: else
       fi;
       n = 0;
       a = 0
     }
  od
}

proctype Client(byte first; byte end) {
  byte a = first, least, other;
  do
  :: a < end ->
     atomic { least = largest; asked[a] = 1; asking[a] = 1 };
     if
     :: atomic {
          ((granted[a] & 1) + ((granted[a] >> 1) & 1) + ((granted[a] >> 2) & 1)) >= QUORUM ->
          assert(proposal[a] > least);  /* S2 */
          for (other : 0 .. LAST) {
            assert(other == a || !won[other] || proposal[other] != proposal[a])  /* S3 */
          };
          other = 0;
          won[a] = 1;
          asking[a] = 0;
          granted[a] = 0;
          least = 0;
          if
          :: proposal[a] > largest -> largest = proposal[a]
          :: else
          fi
        };
        released[a] = 1
     :: atomic { asking[a] = 0; granted[a] = 0; least = 0; released[a] = 1 }  /* gives up, at any moment */
     fi;
     a++
  :: else -> break
  od
}

init {
  byte a;
  atomic {
    for (a : 0 .. LAST) { select(largest : 1 .. ATTEMPTS); proposal[a] = largest };
    largest = 0;
    a = 0;
    run Client(0, 2);
    run Client(2, ATTEMPTS)
  }
}
