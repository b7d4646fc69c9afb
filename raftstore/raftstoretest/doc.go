// Package raftstoretest runs raftstore clusters inside one test process: real
// TLS on loopback, real files, nodes that are killed and come back. It refuses
// to be fast by pretending: nothing of raftstore is replaced.
package raftstoretest
