package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Facts is what becomes of the history of calls and agents.
type Facts struct {
	// KeepFor is how long this router's file keeps facts and call records: days
	// such as 365d, or a duration such as 8760h. A year if not given (T11).
	KeepFor string `yaml:"keep"`
	// Postgres, if given, is a database that the leader feeds.
	Postgres Postgres `yaml:"postgres"`
}

// Postgres says where the database is: either by DSN and PasswordFile, or by
// URLFile. No password stands in the configuration itself.
type Postgres struct {
	DSN          string `yaml:"dsn"`           // keywords as in libpq, or a URL; without a password
	PasswordFile string `yaml:"password_file"` // may be left out where the server asks for none
	URLFile      string `yaml:"url_file"`      // holds a URL with the password
	// Cursor is what the place that the database has reached is called in the
	// replicated state; "postgres" if not given. Under another name everything
	// that the routers still have is delivered anew.
	Cursor string `yaml:"cursor"`
}

// CursorName is Cursor or its default.
func (p Postgres) CursorName() string {
	if p.Cursor == "" {
		return "postgres"
	}
	return p.Cursor
}

var cursorName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

const (
	defaultKeep = 365 * 24 * time.Hour
	leastKeep   = 24 * time.Hour
)

// Keep is how long facts are kept.
func (f Facts) Keep() time.Duration {
	d, err := parseKeep(f.KeepFor)
	if err != nil {
		return defaultKeep // refused by validate
	}
	return d
}

func parseKeep(s string) (time.Duration, error) {
	if s == "" {
		return defaultKeep, nil
	}
	var d time.Duration
	var err error
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		if n > 36_500 {
			err = errors.New("over 100 years")
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d < leastKeep {
		return 0, fmt.Errorf("%q: want days such as 365d, or a duration such as 8760h, of a day at least", s)
	}
	return d, nil
}

func (f Facts) validate(t *tree) {
	if _, err := parseKeep(f.KeepFor); err != nil {
		t.at("facts.keep", "%v", err)
	}
	p := f.Postgres
	if !p.Given() {
		return
	}
	for _, file := range []struct{ path, name string }{{"password_file", p.PasswordFile}, {"url_file", p.URLFile}} {
		if file.name != "" && !filepath.IsAbs(file.name) {
			t.at("facts.postgres."+file.path, "%q is not an absolute path", file.name)
		}
	}
	if !cursorName.MatchString(p.CursorName()) {
		t.at("facts.postgres.cursor", "%q: want at most 64 lower-case letters, digits, - and _", p.Cursor)
	}
	switch {
	case (p.DSN == "") == (p.URLFile == ""):
		t.at("facts.postgres", "needs either dsn or url_file")
	case p.URLFile != "" && p.PasswordFile != "":
		t.at("facts.postgres.password_file", "goes with dsn: url_file holds the password")
	case p.DSN != "" && namesPassword(p.DSN):
		t.at("facts.postgres.dsn", "must not hold a password: put that into password_file")
	case p.DSN != "":
		if _, err := ParsePostgres(p.DSN, ""); err != nil {
			t.at("facts.postgres.dsn", "%v", err)
		}
	}
}

var passwordKeyword = regexp.MustCompile(`(?i)(^|[\s?&])password\s*=`)

func namesPassword(dsn string) bool {
	if u, err := url.Parse(dsn); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return true
		}
	}
	return passwordKeyword.MatchString(dsn)
}

// Given tells whether there is a database.
func (p Postgres) Given() bool { return p != Postgres{} }

// Connect reads the files and returns what is needed to connect. Its errors
// show no secret.
func (p Postgres) Connect() (*pgx.ConnConfig, error) {
	dsn, password := p.DSN, ""
	for _, file := range []struct {
		what, name string
		into       *string
	}{{"url_file", p.URLFile, &dsn}, {"password_file", p.PasswordFile, &password}} {
		if file.name == "" {
			continue
		}
		b, err := os.ReadFile(file.name)
		if err != nil {
			return nil, fmt.Errorf("read facts.postgres.%s: %w", file.what, err)
		}
		if *file.into = strings.TrimSpace(string(b)); *file.into == "" {
			return nil, fmt.Errorf("facts.postgres.%s %s is empty", file.what, file.name)
		}
	}
	c, err := ParsePostgres(dsn, password)
	if err != nil {
		return nil, fmt.Errorf("facts.postgres: %w", err)
	}
	return c, nil
}

// ParsePostgres reads how to connect; password, unless empty, replaces what
// dsn has. Call records are personal data: to a server on another machine they
// go only over TLS that checks who the server is.
func ParsePostgres(dsn, password string) (*pgx.ConnConfig, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		// The library's error shows the whole text, and with it a password.
		return nil, errors.New(`want "host=... port=... user=... dbname=..." or postgres://USER@HOST:PORT/NAME`)
	}
	if password != "" {
		c.Password = password
	}
	err = guarded(c.Host, c.TLSConfig)
	for _, f := range c.Fallbacks {
		err = errors.Join(err, guarded(f.Host, f.TLSConfig))
	}
	if err != nil {
		// One way without TLS is as bad as all.
		return nil, fmt.Errorf("host %s is another machine: set sslmode=verify-full and sslrootcert", c.Host)
	}
	return c, nil
}

var errUnguarded = errors.New("not checked")

// guarded tells whether a server is on this machine or proves who it is. With
// sslmode=verify-ca the library checks the chain itself.
func guarded(host string, c *tls.Config) error {
	if strings.HasPrefix(host, "/") || host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	if c == nil || c.InsecureSkipVerify && c.VerifyPeerCertificate == nil {
		return errUnguarded
	}
	return nil
}
