package acdwire

import (
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"trunkline/routerd/acd"
)

// largeTree is a routing tree as large as they come: random digests, three
// queues and a skill for each agent.
func largeTree(agents int) acd.Config {
	var c acd.Config
	for i := range 100 {
		c.Queues = append(c.Queues, acd.Queue{ID: acd.QueueID(fmt.Sprint("queue", i))})
	}
	for i := range agents {
		id := fmt.Sprint("agent", i)
		c.Agents = append(c.Agents, acd.Agent{
			ID: acd.AgentID(id), Name: fmt.Sprint("Agent Number ", i), AutoAvailable: true,
			Queues:    []acd.QueueID{c.Queues[i%33].ID, c.Queues[i%33+33].ID, c.Queues[i%33+66].ID},
			HA1SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(id))), HA1MD5: fmt.Sprintf("%x", md5.Sum([]byte(id))),
			Skills: []acd.Skill{{Skill: "english", Level: i%9 + 1}},
		})
	}
	return c
}

// A tree of 10 000 agents with its compressed text must be a command that the
// log takes: raftstore.MaxCommand is 2 MiB.
func TestALargeTreeFits(t *testing.T) {
	c := largeTree(10_000)
	source := make([]byte, 0, 650_000) // what gzip makes of its text
	for i := 0; len(source) < 650_000; i++ {
		sum := sha256.Sum256([]byte(fmt.Sprint("s", i)))
		source = append(source, sum[:]...)
	}
	in := acd.Command{Session: "s", Seq: 1, Body: acd.ConfigApplied{Config: c, Source: source}}
	data := must(EncodeCommand(in))
	t.Logf("10 000 agents: %d bytes", len(data))
	if len(data) > 2<<20 {
		t.Errorf("the command has %d bytes", len(data))
	}
	got, err := DecodeCommand(data)
	if err != nil || !reflect.DeepEqual(got, in) {
		t.Errorf("decoded to something else: %v", err)
	}
}

func TestDeflatedBodiesAreChecked(t *testing.T) {
	large := must(encoding.Marshal(acd.CallTagged{Card: []acd.Attr{{Key: "k", Value: strings.Repeat("x", packAbove)}}}))
	command := func(body []byte) []byte {
		return must(encoding.Marshal(envelope{Version: versionPacked, Type: 18, Body: body}))
	}
	if _, err := DecodeCommand(command(must(pack(large)))); err != nil {
		t.Fatal(err)
	}
	f := func(what string, body []byte) {
		t.Helper()
		if cmd, err := DecodeCommand(command(body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: decoded to %+v, %v", what, cmd, err)
		}
	}
	f("a body that is not deflated", large)
	f("a small one that need not be", must(pack(must(encoding.Marshal(acd.CallTagged{})))))
	f("one that inflates without end", must(pack(make([]byte, maxUnpacked+1))))
	var packed []byte
	if err := decoding.Unmarshal(must(pack(large)), &packed); err != nil {
		t.Fatal(err)
	}
	f("bytes behind it", must(encoding.Marshal(append(packed, 0))))
	f("half of it", must(encoding.Marshal(packed[:len(packed)/2])))
}
