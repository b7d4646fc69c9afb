package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func factsFaults(t *testing.T, src string) (Config, string) {
	t.Helper()
	good, err := os.ReadFile("testdata/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(path, append(good, src...), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		return Config{}, err.Error()
	}
	return *c, ""
}

func TestFactsAreKeptForAYearUnlessSaid(t *testing.T) {
	f := func(src string, want time.Duration) {
		t.Helper()
		c, fault := factsFaults(t, src)
		if fault != "" || c.Facts.Keep() != want {
			t.Errorf("%q keeps %v, want %v: %s", src, c.Facts.Keep(), want, fault)
		}
	}
	f("", 8760*time.Hour)
	f("facts: {keep: 30d}\n", 720*time.Hour)
	f("facts: {keep: 36h}\n", 36*time.Hour)
}

func TestFaultsOfFacts(t *testing.T) {
	f := func(src, want string) {
		t.Helper()
		if _, fault := factsFaults(t, src); !strings.Contains(fault, want) || want == "" && fault != "" {
			t.Errorf("%s: %q, want %q", src, fault, want)
		} else if strings.Contains(fault, "geheim") {
			t.Errorf("%s: the fault shows the password: %s", src, fault)
		}
	}
	f("facts: {keep: 1h}\n", `facts.keep: "1h": want days such as 365d`)
	f("facts: {keep: forever}\n", "facts.keep")
	f("facts: {postgres: {password_file: /x}}\n", "facts.postgres: needs either dsn or url_file")
	f("facts: {postgres: {dsn: 'host=127.0.0.1', url_file: /etc/x}}\n", "needs either dsn or url_file")
	f("facts: {postgres: {url_file: x}}\n", `facts.postgres.url_file: "x" is not an absolute path`)
	f("facts: {postgres: {url_file: /x, password_file: /y}}\n", "facts.postgres.password_file: goes with dsn")
	f("facts: {postgres: {dsn: 'host=127.0.0.1 password=geheim'}}\n", "facts.postgres.dsn: must not hold a password")
	f("facts: {postgres: {dsn: 'postgres://ann:geheim@127.0.0.1/x'}}\n", "facts.postgres.dsn: must not hold a password")
	f("facts: {postgres: {dsn: 'host=127.0.0.1 port=geheim'}}\n", `facts.postgres.dsn: want "host=`)
	f("facts: {postgres: {dsn: 'host=192.0.2.1 user=x'}}\n", "facts.postgres.dsn: host 192.0.2.1 is another machine: set sslmode=verify-full")
	f("facts: {postgres: {dsn: 'host=192.0.2.1 user=x sslmode=require'}}\n", "set sslmode=verify-full")
	f("facts: {postgres: {dsn: 'host=192.0.2.1 user=x sslmode=disable'}}\n", "set sslmode=verify-full")
	f("facts: {postgres: {dsn: 'host=192.0.2.1 user=x sslmode=verify-full'}}\n", "")
	f("facts: {postgres: {dsn: 'host=/run/postgresql user=x dbname=facts', password_file: /etc/trunkline/pg}}\n", "")
	f("facts: {postgres: {url_file: /x, cursor: 'New One'}}\n", "facts.postgres.cursor")
	f("facts: {postgres: {dns: x}}\n", "dns")
}

func TestPasswordComesFromItsFile(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	p := Postgres{DSN: "host=127.0.0.1 user=ann dbname=facts", PasswordFile: file("password", "geheim\n")}
	c, err := p.Connect()
	if err != nil || c.Password != "geheim" || c.User != "ann" {
		t.Errorf("%+v, %v", c, err)
	}
	p = Postgres{URLFile: file("url", "postgres://ann:geheim@127.0.0.1:5433/facts\n")}
	if c, err := p.Connect(); err != nil || c.Password != "geheim" || c.Port != 5433 {
		t.Errorf("%+v, %v", c, err)
	}
	p = Postgres{URLFile: file("wrong", "postgres://ann:geheim@127.0.0.1:port/facts\n")}
	if _, err := p.Connect(); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("%v", err)
	}
	p = Postgres{URLFile: filepath.Join(dir, "none")}
	if _, err := p.Connect(); err == nil || !strings.Contains(err.Error(), "read facts.postgres.url_file") {
		t.Errorf("%v", err)
	}
}
