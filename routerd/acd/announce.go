package acd

import "time"

// What a waiting caller is told is made of prompts that are recorded under
// these names; one that is missing is left out.
//
//	position number-3          the place in line, 1 to 99; number-over-99 beyond
//	wait minutes-5 up-to minutes-8
//	                           the median and the 90th percentile of what is left
//	                           of the wait, in full minutes, 1 to 60; up-to only
//	                           where that is more
//	less-than-a-minute         for minutes-1
//	more-than-an-hour          beyond minutes-60
//
// and of the queue's own callback.offer.
const (
	promptPosition  = "position"
	promptNumber    = "number-"
	promptOver99    = "number-over-99"
	promptWait      = "wait"
	promptMinutes   = "minutes-"
	promptUpTo      = "up-to"
	promptSoon      = "less-than-a-minute"
	promptLong      = "more-than-an-hour"
	announcement    = "announcement" // Announce.Name
	mostAnnounced   = 99
	mostMinutes     = 60
	announcedAtOnce = 1 // ns: told already, and next to nothing
)

// announceFirst arms the announcements of a call that has just joined.
func (m *Machine) announceFirst(c *call, q *queue) {
	a := &q.Announce
	if a.Every == 0 {
		return
	}
	first := a.First
	if first == 0 {
		first = a.Every
	}
	m.after(first, timerAnnounce, string(c.ID), "")
}

// announce tells a waiting caller where the call stands, and goes on with music.
func (m *Machine) announce(c *call) {
	q := m.queues[c.Queue]
	if q.Announce.Every == 0 {
		return // configured no longer
	}
	m.after(q.Announce.Every, timerAnnounce, string(c.ID), "")
	if prompts := m.news(c, q); len(prompts) > 0 {
		m.tell(c, q, prompts)
	}
}

// tell plays prompts to a waiting caller and then the music anew. c.Prompt is
// the music all the time: if its owner dies meanwhile, the next one plays that.
func (m *Machine) tell(c *call, q *queue, prompts []string) {
	c.Prompt = Prompt{Name: q.Music, Loop: q.Music != ""}
	m.order(c, Announce{Leg: c.Caller, Name: announcement, Prompts: prompts, Then: c.Prompt})
}

// news is what an announcement says now. Neither the place nor the wait a
// caller was told ever grows: one that does, because somebody with an earlier
// ticket or a higher priority came, is told as it was the last time.
func (m *Machine) news(c *call, q *queue) []string {
	var prompts []string
	position := q.line.position(c)
	if q.Announce.Position {
		if c.ToldPosition == 0 || position < c.ToldPosition {
			c.ToldPosition = position
		}
		number := promptOver99
		if c.ToldPosition <= mostAnnounced {
			number = promptNumber + itoa(c.ToldPosition)
		}
		prompts = append(prompts, promptPosition, number)
	}
	p50, p90, known := q.wait(position, m.now)
	if q.Announce.Wait {
		c.ToldP50, c.ToldP90 = told(c.ToldP50, p50, known), told(c.ToldP90, p90, known)
		if c.ToldP50 > 0 {
			low, high := minutes(c.ToldP50), minutes(c.ToldP90)
			prompts = append(prompts, promptWait, low)
			if high != low {
				prompts = append(prompts, promptUpTo, high)
			}
		}
	}
	if offer := m.offerCallback(c, q, p50, known); offer != "" {
		prompts = append(prompts, offer)
	}
	return prompts
}

// told is what a caller is told after was: 0 is nothing.
func told(was, now time.Duration, known bool) time.Duration {
	switch {
	case !known:
		return was
	case was == 0 || now < was:
		return max(now, announcedAtOnce)
	}
	return was
}

func minutes(d time.Duration) string {
	switch n := int((d + time.Minute - 1) / time.Minute); {
	case n <= 1:
		return promptSoon
	case n > mostMinutes:
		return promptLong
	default:
		return promptMinutes + itoa(n)
	}
}
