package acdtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"trunkline/routerd/acd"
)

// tree takes a routing tree as the indented lines under it. The first one of a
// script also starts what setup starts (nodes=, workers=, expires=, and phones=
// for who registers, all agents by default) and prints nothing; a later one
// prints what came of applying it. if-none, by, comment and base go into the
// command. Without trunks there are sbc-a and sbc-b.
func (s *script) tree(a *args) ([]string, error) {
	cfg, err := ReadTree(a.block)
	if err != nil {
		return nil, err
	}
	applied := acd.ConfigApplied{
		Config: cfg, IfNone: a.text("if-none", "") != "", By: a.text("by", ""), Comment: a.text("comment", ""),
		Base: uint64(a.number("base", 0)), Source: []byte(a.block),
	}
	if _, configured := s.M.Config(); configured {
		return s.propose(applied)
	}
	return s.start(a, applied)
}

// ReadTree reads a routing tree as the router does, but refuses nothing that
// the machine can refuse.
func ReadTree(text string) (acd.Config, error) {
	cfg := acd.Config{}
	if err := yaml.UnmarshalWithOptions([]byte(text), &cfg, yaml.Strict()); err != nil {
		return cfg, fmt.Errorf("tree: %w", err)
	}
	if cfg.Trunks == nil {
		cfg.Trunks = []acd.Trunk{{ID: "sbc-a"}, {ID: "sbc-b"}}
	}
	for i := range cfg.Calendars {
		offset, ok := zones[cfg.Calendars[i].Zone]
		if !ok {
			return cfg, fmt.Errorf("tree: zone %q is not one the scripts know", cfg.Calendars[i].Zone)
		}
		cfg.Calendars[i].Offsets = offset
	}
	return cfg, nil
}

// zones are those scripts may name. The router takes them from its own
// database, which is not needed to test the machine.
var zones = map[string][]acd.Offset{
	"UTC":           {{From: 0, Seconds: 0}},
	"Europe/Moscow": {{From: 0, Seconds: 3 * 3600}},
	"Europe/Berlin": { // around the driver's beginning, 14 November 2023
		{From: change(2023, time.March, 26), Seconds: 7200}, {From: change(2023, time.October, 29), Seconds: 3600},
		{From: change(2024, time.March, 31), Seconds: 7200}, {From: change(2024, time.October, 27), Seconds: 3600},
	},
}

// change is when Europe's clocks change on a day: 01:00 UTC.
func change(year int, month time.Month, day int) acd.Time {
	return acd.Time(time.Date(year, month, day, 1, 0, 0, 0, time.UTC).UnixNano())
}

// start applies the first configuration and starts nodes, workers and phones.
func (s *script) start(a *args, applied acd.ConfigApplied) ([]string, error) {
	quiet := func(body acd.Body) error {
		r, _, err := s.Propose(body)
		if err == nil && !r.Applied {
			err = fmt.Errorf("%T: %s: %w", body, r.Reason, applied.Config.Validate())
		}
		return err
	}
	if err := quiet(applied); err != nil {
		return nil, err
	}
	for _, n := range a.list("nodes", "r1,r2,r3") {
		if err := quiet(acd.NodeStarted{Node: acd.NodeID(n), SIP: n + ":5060", Peer: n + ":8443"}); err != nil {
			return nil, err
		}
	}
	for _, w := range a.list("workers", "m1,m2") {
		if err := quiet(workerStarted(w, 1)); err != nil {
			return nil, err
		}
	}
	expires := a.duration("expires")
	if expires == 0 {
		expires = 24 * time.Hour
	}
	var ids []string
	for _, agent := range applied.Config.Agents {
		ids = append(ids, string(agent.ID))
	}
	phones := a.list("phones", strings.Join(ids, ","))
	for _, id := range ids {
		if !slices.Contains(phones, id) {
			continue
		}
		s.Clock = s.Clock.Add(time.Second)
		if err := quiet(registration(id, "phone", 1, expires)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
