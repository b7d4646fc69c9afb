package acd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestSpokenIsBounded: the oldest conversations are forgotten by the chunk, a
// customer who called since is not, and a restored machine forgets the same.
func TestSpokenIsBounded(t *testing.T) {
	m := New()
	m.queues["q"] = newQueue(Queue{ID: "q", Sticky: Sticky{Days: 1}})
	speak := func(m *Machine, number string) {
		m.now++
		m.spoke(&call{Call: &Call{Queue: "q", From: number}}, "ann")
	}
	const room = maxSpokenChunks * spokenChunk
	speak(m, "+7regular")
	for i := range room - 2 {
		speak(m, fmt.Sprint("+1", i))
	}
	speak(m, "+7regular") // fills the last chunk that there is room for
	if got := len(m.spoken.last); got != room-1 || len(m.spoken.chunks) != maxSpokenChunks {
		t.Fatalf("%d customers in %d chunks", got, len(m.spoken.chunks))
	}
	var chunks [][]byte
	for _, p := range m.spoken.chunks {
		chunks = append(chunks, slices.Clone(p.buf))
	}
	twin := New()
	twin.queues["q"] = m.queues["q"]
	if err := twin.restoreSpoken(chunks); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Machine{"first": m, "restored": twin} {
		speak(m, "+7new")
		if got, want := len(m.spoken.last), room-spokenChunk+1; got != want {
			t.Errorf("%s: %d customers, want %d", name, got, want)
		}
		_, old := m.spoken.last["+10"]
		_, kept := m.spoken.last[fmt.Sprint("+1", spokenChunk-1)]
		if _, regular := m.spoken.last["+7regular"]; old || !kept || !regular {
			t.Errorf("%s: of the oldest chunk %t, of the next %t, who called again %t", name, old, kept, regular)
		}
	}
	speak(m, "anonymous")
	if _, ok := m.spoken.last["anonymous"]; ok {
		t.Error("nobody's number is remembered")
	}
}

func TestDamagedSpokenIsRefused(t *testing.T) {
	m := New()
	m.queues["q"] = newQueue(Queue{ID: "q", Sticky: Sticky{Days: 1}})
	m.spoke(&call{Call: &Call{Queue: "q", From: "+71"}}, "ann")
	whole := m.spoken.chunks[0].buf
	for _, chunks := range [][][]byte{{whole[:len(whole)-1]}, {whole[:5]}, {nil}, {whole, whole}} {
		if err := New().restoreSpoken(chunks); err == nil || !strings.Contains(err.Error(), "who spoke with whom") {
			t.Errorf("%d chunks: %v", len(chunks), err)
		}
	}
	if err := New().restoreSpoken([][]byte{whole}); err != nil {
		t.Error(err)
	}
}
