package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"trunkline/mediad/mediaapi"
)

// Recording is where calls are recorded, under which key, and how long they are
// kept.
type Recording struct {
	Dir           string        `yaml:"dir"`
	MasterKeyFile string        `yaml:"master_key_file"`
	SegmentAge    time.Duration `yaml:"segment_age"` // a segment is sealed at this age; 15m
	Keep          string        `yaml:"keep"`        // days such as 365d, the default, or a duration
	Queues        []QueueKeep   `yaml:"queues"`
	MinFree       int           `yaml:"min_free_megabytes"` // with less the disk counts as full; 1024
	Full          string        `yaml:"full"`               // what a full disk has to do: KeepOld, the default, or KeepNew
	Store         Store         `yaml:"store"`
}

// QueueKeep is how long one queue's recordings are kept.
type QueueKeep struct {
	Queue string `yaml:"queue"`
	Keep  string `yaml:"keep"`
}

// What to do when the disk is full.
const (
	KeepOld = "keep_old" // new calls go on unrecorded
	KeepNew = "keep_new" // the oldest recordings are erased
)

// Store is where sealed segments go. Without one they stay in Recording.Dir.
type Store struct {
	Dir string `yaml:"dir"`
	S3  S3     `yaml:"s3"`
}

// S3 names a bucket of an S3-compatible service.
type S3 struct {
	Endpoint      string `yaml:"endpoint"` // https://host[:port]
	Region        string `yaml:"region"`
	Bucket        string `yaml:"bucket"`
	AccessKeyFile string `yaml:"access_key_file"`
	SecretKeyFile string `yaml:"secret_key_file"`
	CA            string `yaml:"ca"` // of the service's certificate; empty: the system's

	URL       *url.URL       `yaml:"-"`
	AccessKey string         `yaml:"-"`
	SecretKey string         `yaml:"-"`
	Roots     *x509.CertPool `yaml:"-"`
}

const (
	defaultKeep       = "365d"
	leastKeep         = 24 * time.Hour
	mostKeep          = 100 * 365 * 24 * time.Hour
	defaultSegmentAge = 15 * time.Minute
	mostSegmentAge    = time.Hour // export looks no farther back from a time it is given
	defaultMinFree    = 1024
)

// Keeps are the rules: how long recordings are kept, and those of which queues
// otherwise.
func (r Recording) Keeps() (whole time.Duration, queues map[string]time.Duration) {
	whole, _ = parseKeep(r.Keep)
	queues = map[string]time.Duration{}
	for _, q := range r.Queues {
		queues[q.Queue], _ = parseKeep(q.Keep)
	}
	return whole, queues
}

func parseKeep(s string) (d time.Duration, err error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, convErr := strconv.Atoi(days)
		if convErr != nil || n > 100*365 {
			err = errors.New("no number of days")
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d < leastKeep || d > mostKeep {
		return 0, fmt.Errorf("%q: want days such as 365d, or a duration such as 8760h, of a day at least", s)
	}
	return d, nil
}

func (r Recording) given() bool {
	return r.Dir != "" || r.MasterKeyFile != "" || r.SegmentAge != 0 || r.Keep != "" || len(r.Queues) > 0 ||
		r.MinFree != 0 || r.Full != "" || r.Store != (Store{})
}

func (c *Config) checkRecording(t *tree) {
	r := &c.Recording
	if !r.given() {
		return
	}
	c.checkPath(t, "recording.dir", r.Dir, true)
	c.MasterKey = loadKey(t, "recording.master_key_file", r.MasterKeyFile)
	if r.SegmentAge == 0 {
		r.SegmentAge = defaultSegmentAge
	}
	if r.SegmentAge < time.Second || r.SegmentAge > mostSegmentAge {
		t.fault("recording.segment_age", "want 1s to %v", mostSegmentAge)
	}
	if r.Keep == "" {
		r.Keep = defaultKeep
	}
	if _, err := parseKeep(r.Keep); err != nil {
		t.fault("recording.keep", "%v", err)
	}
	r.checkQueues(t)
	if r.MinFree == 0 {
		r.MinFree = defaultMinFree
	}
	if r.MinFree < 0 {
		t.fault("recording.min_free_megabytes", "must not be negative")
	}
	switch r.Full {
	case "":
		r.Full = KeepOld
	case KeepOld, KeepNew:
	default:
		t.fault("recording.full", "%q: want %s or %s", r.Full, KeepOld, KeepNew)
	}
	c.checkStore(t)
}

func (r *Recording) checkQueues(t *tree) {
	seen := map[string]bool{}
	for i, q := range r.Queues {
		path := fmt.Sprintf("recording.queues[%d]", i)
		switch {
		case q.Queue == "":
			t.fault(path+".queue", "is missing")
		case len(q.Queue) > mediaapi.MaxLabel:
			t.fault(path+".queue", "is longer than %d bytes: give its first %d", mediaapi.MaxLabel, mediaapi.MaxLabel)
		case seen[q.Queue]:
			t.fault(path+".queue", "%q is given twice", q.Queue)
		}
		seen[q.Queue] = true
		if _, err := parseKeep(q.Keep); err != nil {
			t.fault(path+".keep", "%v", err)
		}
	}
}

func (c *Config) checkStore(t *tree) {
	s := &c.Recording.Store
	if *s == (Store{}) {
		return
	}
	if s.S3 == (S3{}) {
		c.checkPath(t, "recording.store.dir", s.Dir, true)
		if s.Dir == c.Recording.Dir {
			t.fault("recording.store.dir", "is recording.dir itself")
		}
		return
	}
	if s.Dir != "" {
		t.fault("recording.store", "needs either dir or s3")
	}
	u, err := url.Parse(s.S3.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		t.fault("recording.store.s3.endpoint", "%q is not https://host[:port]", s.S3.Endpoint)
	}
	s.S3.URL = u
	if s.S3.Bucket == "" {
		t.fault("recording.store.s3.bucket", "is missing")
	}
	s.S3.AccessKey = loadSecret(t, "recording.store.s3.access_key_file", s.S3.AccessKeyFile)
	s.S3.SecretKey = loadSecret(t, "recording.store.s3.secret_key_file", s.S3.SecretKeyFile)
	if s.S3.CA == "" {
		return
	}
	s.S3.Roots = x509.NewCertPool()
	if pem, err := os.ReadFile(s.S3.CA); err != nil {
		t.fault("recording.store.s3.ca", "%v", err)
	} else if !s.S3.Roots.AppendCertsFromPEM(pem) {
		t.fault("recording.store.s3.ca", "%s holds no certificate", s.S3.CA)
	}
}

// loadSecret reads a file of one line.
func loadSecret(t *tree, path, file string) string {
	if file == "" {
		t.fault(path, "is missing")
		return ""
	}
	src, err := os.ReadFile(file)
	if err != nil {
		t.fault(path, "%v", err)
		return ""
	}
	secret := strings.TrimSpace(string(src))
	if secret == "" || strings.ContainsAny(secret, "\r\n") {
		t.fault(path, "%s holds no single line", file)
	}
	return secret
}
