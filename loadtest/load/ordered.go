package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"trunkline/loadtest/lab"
)

// orderedMetric is each router's own measure of the last minute.
const orderedMetric = `routerd_offer_ordered_seconds{quantile="`

// offerOrdered reads the quantiles from the routers' metrics; of each the
// slowest router's counts.
func (r *run) offerOrdered(ctx context.Context) (map[string]time.Duration, error) {
	out := map[string]time.Duration{}
	for _, name := range routers {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/metrics", r.addr(name, lab.PortMetrics)), nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, fmt.Errorf("read the metrics of %s: %w", name, err)
		}
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), orderedMetric); ok {
				quantile, value, _ := strings.Cut(rest, `"} `)
				seconds, err := strconv.ParseFloat(value, 64)
				if err != nil {
					resp.Body.Close()
					return nil, fmt.Errorf("metrics of %s: %q: %w", name, lines.Text(), err)
				}
				out[quantile] = max(out[quantile], time.Duration(seconds*float64(time.Second)))
			}
		}
		resp.Body.Close()
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("read the metrics of %s: %w", name, err)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("the routers' metrics do not tell when orders to ring were taken up")
	}
	return out, nil
}
