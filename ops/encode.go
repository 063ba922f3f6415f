package ops

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ostraca/shard"
)

// Encoder measures an encoder.
func (m *Metrics) Encoder(e shard.Encoder) shard.Encoder {
	out := &measured{Encoder: e,
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Subsystem: "router", Name: "encode_seconds",
			Help: "Time of one call of the encoder, with all of its texts.", Buckets: buckets}, []string{"of"}),
		texts: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: "router", Name: "encode_texts_total",
			Help: "Texts that were encoded."}, []string{"of"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: "router", Name: "encode_tokens_total",
			Help: "Token vectors that were made."}, []string{"of"})}
	m.Registry.MustRegister(out.seconds, out.texts, out.tokens)
	return out
}

// measured is an encoder that is timed and counted, documents and questions apart.
type measured struct {
	shard.Encoder
	seconds       *prometheus.HistogramVec
	texts, tokens *prometheus.CounterVec
}

func (e *measured) Encode(ctx context.Context, texts []string, o shard.EncodeOptions) ([]shard.Matrix, error) {
	of := "documents"
	if o.Query {
		of = "questions"
	}
	start := time.Now()
	matrices, err := e.Encoder.Encode(ctx, texts, o)
	if err != nil {
		return nil, err
	}
	e.seconds.WithLabelValues(of).Observe(time.Since(start).Seconds())
	for _, m := range matrices {
		if m.Err == nil {
			e.texts.WithLabelValues(of).Inc()
			e.tokens.WithLabelValues(of).Add(float64(len(m.Tokens)))
		}
	}
	return matrices, nil
}
