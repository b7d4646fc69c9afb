// Package raftstoretest runs raftstore clusters for tests: nodes inside one test
// process (Cluster) or each in a process of its own (Process), with real TLS,
// real files, nodes that are killed and come back. It refuses to be fast by
// pretending: nothing of raftstore is replaced.
package raftstoretest
