package index

const defaultShare = 25 // percent

// Times in microseconds.
const (
	shortestNap = 1000
	longestNap  = 50_000    // between two looks at whether the index is closed
	mostDebt    = 1_000_000 // where the clock jumped
)

// pace has a goroutine work a share of its time. By the clock on the wall it counts what others took of the core as its own work: it takes the share or less.
type pace struct {
	clock func() int64
	sleep func(micros int64)
	share int64 // percent
	since int64
	debt  int64 // sleep that is due
	bytes int   // copied since the last rest
	every int   // bytes: restEvery, less in tests
	stop  <-chan struct{}
}

// restEvery is the bytes that are copied between two rests: under a millisecond.
const restEvery = 1 << 20

func newPace(o Merging, stop <-chan struct{}) *pace {
	p := &pace{clock: o.Clock, sleep: o.Sleep, share: int64(min(o.Share, 100)), every: restEvery, stop: stop}
	if p.share <= 0 {
		p.share = defaultShare
	}
	if p.clock == nil || p.sleep == nil {
		p.clock, p.share = func() int64 { return 0 }, 100
	}
	return p
}

// start begins work.
func (p *pace) start() { p.since = p.clock() }

// copied counts work, and rests when it is time. It returns whether to go on.
func (p *pace) copied(bytes int) bool {
	if p.bytes += bytes; p.bytes < p.every {
		return true
	}
	p.bytes = 0
	return p.rest()
}

// rest sleeps for the work since start or the last rest. It returns whether to go on: false when stopped.
func (p *pace) rest() bool {
	now := p.clock()
	p.debt = min(p.debt+max(0, now-p.since)*(100-p.share)/p.share, mostDebt)
	p.since = now
	for p.debt >= shortestNap {
		if p.stopped() {
			return false
		}
		nap := min(p.debt, longestNap)
		p.sleep(nap)
		now = p.clock()
		p.debt -= max(nap, now-p.since)
		p.since = now
	}
	return !p.stopped()
}

func (p *pace) stopped() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}
