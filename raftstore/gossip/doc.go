// Package gossip tells which daemons of a site are alive and what each says
// about itself: hashicorp/memberlist over UDP and TCP, encrypted with the
// site's key.
//
// A member is probed every 200 ms by another one; three silent intervals make
// it dead for all, about a second after its end. What a member says about
// itself (Meta) is read again twice a second and spreads within a few tenths.
//
// Seeds are joined in the background and again whenever one is missing: the
// order of starting does not matter, a dead seed delays nobody, and the halves
// of a healed partition find each other.
//
// It refuses to decide: a death seen here is a suspicion. Whoever moves calls
// because of it has the death committed by raft first.
package gossip
