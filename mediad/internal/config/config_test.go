package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// site makes a folder with an identity for worker m1 and two keys.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "m1"}, DNSNames: []string{"m1.worker.trunkline.internal"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	priv, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "m1.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, dir, "m1.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: priv})))
	write(t, dir, "secret", base64.StdEncoding.EncodeToString(make([]byte, 32)))
	write(t, dir, "short", "AAAA")
	return dir
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const whole = `worker: m1
data: DIR
tls: {ca: DIR/m1.pem, cert: DIR/m1.pem, key: DIR/m1.key}
ng: {tls: "127.0.0.1:2225", udp: "127.0.0.1:2223", tcp: "127.0.0.1:2223"}
replication: "127.0.0.1:2226"
media: {addresses: [127.0.0.2, "::1"], ports: 20000-39999}
gossip: {listen: "127.0.0.1:7946", join: ["127.0.0.1:7946"], key_file: DIR/secret}
prompts: DIR
recording: {dir: DIR/rec, master_key_file: DIR/secret}
metrics: {listen: "127.0.0.1:9100"}
drain: 90s
`

func TestWholeFileIsRead(t *testing.T) {
	dir := site(t)
	c, err := Load(write(t, dir, "mediad.yaml", strings.ReplaceAll(whole, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	if c.Worker != "m1" || c.NG.UDP != "127.0.0.1:2223" || len(c.Addresses) != 2 || c.PortRange.Pairs() != 10000 ||
		len(c.GossipKey) != 32 || len(c.MasterKey) != 32 || c.Identity == nil || c.Drain != 90*time.Second || c.Alone() {
		t.Errorf("%+v", c)
	}
}

// How long recordings are kept, and where they go.
func TestRecordingIsReadWhole(t *testing.T) {
	dir := site(t)
	text := strings.Replace(whole, "DIR/secret}\nmetrics", `DIR/secret, keep: 400d, segment_age: 5m, full: keep_new, min_free_megabytes: 10,
  queues: [{queue: sales, keep: 30d}, {queue: billing, keep: 36h}],
  store: {s3: {endpoint: "https://s3.example:9000", region: x, bucket: calls, access_key_file: DIR/short, secret_key_file: DIR/secret, ca: DIR/m1.pem}}}
metrics`, 1)
	c, err := Load(write(t, dir, "mediad.yaml", strings.ReplaceAll(text, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Recording
	keep, queues := r.Keeps()
	if keep != 9600*time.Hour || queues["sales"] != 720*time.Hour || queues["billing"] != 36*time.Hour || r.SegmentAge != 5*time.Minute ||
		r.Full != KeepNew || r.MinFree != 10 || r.Store.S3.URL.Host != "s3.example:9000" || r.Store.S3.AccessKey != "AAAA" || r.Store.S3.Roots == nil {
		t.Errorf("%+v", r)
	}
	c, err = Load(write(t, dir, "mediad.yaml", strings.ReplaceAll(whole, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	if keep, queues := c.Recording.Keeps(); keep != 8760*time.Hour || len(queues) != 0 || c.Recording.Full != KeepOld || c.Recording.SegmentAge != 15*time.Minute {
		t.Errorf("without a word: %v, %+v", keep, c.Recording)
	}
}

// The least that a worker beside a lone Kamailio needs.
func TestWorkerMayStandAlone(t *testing.T) {
	dir := site(t)
	c, err := Load(write(t, dir, "mediad.yaml", "worker: m1\ndata: "+dir+
		"\nng: {udp: \"127.0.0.1:2223\"}\nmedia: {addresses: [127.0.0.1], ports: 20000-20999}\nmetrics: {listen: \"127.0.0.1:9100\"}\n"))
	if err != nil || !c.Alone() || c.Identity != nil {
		t.Errorf("%v, %+v", err, c)
	}
}

// Each fault is told with its line, all of them at once.
func TestAllFaultsAreTold(t *testing.T) {
	dir := site(t)
	f := func(from, to string, want ...string) {
		t.Helper()
		text := strings.Replace(whole, from, to, 1)
		if text == whole {
			t.Fatalf("%q is not in the file", from)
		}
		path := write(t, dir, "bad.yaml", strings.ReplaceAll(text, "DIR", dir))
		_, err := Load(path)
		if err == nil {
			t.Errorf("%q for %q: no fault", to, from)
			return
		}
		got := strings.Split(err.Error(), "\n")
		if len(got) != len(want) {
			t.Errorf("%q for %q: %d faults, want %d:\n%v", to, from, len(got), len(want), err)
			return
		}
		for i := range want {
			if !strings.HasPrefix(got[i], path+":"+want[i]) {
				t.Errorf("%q for %q:\n got %s\nwant %s", to, from, got[i], want[i])
			}
		}
	}
	f("worker: m1", "worker: m9", "3: tls.cert: "+dir+"/m1.pem is not for m9.worker")
	f("worker: m1", "wroker: m1", "1: wroker: unknown key", "1: worker: want one name")
	f("data: DIR", "data: here", `2: data: "here" is not an absolute path`)
	f("2225\", udp: \"127.0.0.1:2223", "x\", udp: \"localhost:1", `4: ng.tls: "127.0.0.1:x"`, `4: ng.udp: "localhost:1"`)
	f("127.0.0.2, \"::1\"", "127.0.0.2, 127.0.0.2, 0.0.0.0, m.example", "6: media.addresses[1]: 127.0.0.2 is given twice",
		"6: media.addresses[2]", "6: media.addresses[3]")
	f("20000-39999", "20000", "6: media.ports: port range")
	f("key_file: DIR/secret}\nprompts", "key_file: DIR/short}\nprompts", "7: gossip.key_file")
	f("DIR/secret}\nmetrics", "DIR/none}\nmetrics", "9: recording.master_key_file")
	rec := func(more string) string { return "DIR/secret, " + more + "}\nmetrics" }
	f("DIR/secret}\nmetrics", rec("keep: 1h, segment_age: 2h, full: stop, min_free_megabytes: -1"), `9: recording.segment_age: want 1s to 1h0m0s`,
		`9: recording.keep: "1h": want days such as 365d`, "9: recording.min_free_megabytes: must not", `9: recording.full: "stop": want keep_old or keep_new`)
	f("DIR/secret}\nmetrics", rec("queues: [{queue: a, keep: forever}, {queue: a, keep: 30d}, {keep: 30d}]"), `9: recording.queues[0].keep: "forever"`,
		`9: recording.queues[1].queue: "a" is given twice`, "9: recording.queues[2].queue: is missing")
	f("DIR/secret}\nmetrics", rec("store: {dir: DIR/rec}"), "9: recording.store.dir: is recording.dir itself")
	f("DIR/secret}\nmetrics", rec("store: {dir: here}"), `9: recording.store.dir: "here" is not an absolute path`)
	f("DIR/secret}\nmetrics", rec("store: {dir: DIR/x, s3: {endpoint: host, access_key_file: DIR/none, ca: DIR/secret}}"), "9: recording.store: needs either dir or s3",
		`9: recording.store.s3.endpoint: "host" is not https://`, "9: recording.store.s3.bucket: is missing", "9: recording.store.s3.access_key_file: open",
		"9: recording.store.s3.secret_key_file: is missing", "9: recording.store.s3.ca: "+dir+"/secret holds no certificate")
	f("prompts: DIR", "prompts: DIR/secret", "8: prompts")
	f("drain: 90s", "drain: soon", "11: drain")
	f("drain: 90s", "drain: 90s\ndrain: 80s", "12: ")
	f("metrics: {listen: \"127.0.0.1:9100\"}", "metrics: [1]", "10: metrics: want keys", "10: metrics.listen: is missing")
	f("join: [\"127.0.0.1:7946\"]", "join: {a: 1}", "7: gossip.join: want a list")
	f("replication: \"127.0.0.1:2226\"\n", "", "1: replication: is missing")
	f("data: DIR", "data: [", "2: not YAML")
	f(`udp: "127.0.0.1:2223"`, `udp: "192.0.2.1:2223"`, "4: ng.udp: is not on loopback: ng.allow")
	f(`udp: "127.0.0.1:2223"`, `allow: [192.0.2.2]`, "4: ng.allow[0]: \"192.0.2.2\" is no network")
	f("addresses:", "max_cpu: 0, plain: [192.0.2.1, 192.0.2.0/24, 192.0.2.1/24, all], addresses:", "6: media.max_cpu: want 1 to 100",
		`6: media.plain[0]: "192.0.2.1" is no network`, "6: media.plain[2]", "6: media.plain[3]")
	f("addresses:", "threads: many, max_legs: -1, addresses:", "6: media.threads: \"many\"", "6: media.max_legs: must not")
}
