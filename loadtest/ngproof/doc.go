// Package ngproof is tests: an unmodified Kamailio with its rtpengine module and
// two mediad processes under the configuration of deploy/rtpengine, between two
// SIP endpoints that check every packet's content.
package ngproof
