package node

import (
	"slices"
	"testing"

	"trunkline/mediad/mediaapi"
	"trunkline/routerd/acd"
)

// A recording is kept by its queue, which the worker is told; and the order,
// repeated after a takeover, ends no pause.
func TestARecordingIsStartedUnderItsQueue(t *testing.T) {
	b := newCallBench(t)
	b.dialledUp()
	b.give(41, acd.StartRecording{})
	var queue acd.QueueID
	b.a.n.view(func(m *acd.Machine) {
		c, _ := m.Call(b.a.call)
		queue = c.Queue
	})
	got := b.worker.all(mediaapi.StartRecording)
	if len(got) != 1 || queue == "" || got[0].Label != string(queue) || !slices.Contains(got[0].Flags, mediaapi.FlagKeepPause) {
		t.Errorf("asked %+v for queue %q", got, queue)
	}
}
