package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ostraca/api"
	"ostraca/consensus"
	"ostraca/ops/local"
	"ostraca/retrieval"
	"ostraca/shard"
)

// demoForget is what was found after a forget.
type demoForget struct {
	ForgottenFound int  `json:"forgotten_found"` // replicas and reads that still gave the document: 0
	ReplicasAsked  int  `json:"replicas_asked"`
	AsIfNever      bool `json:"digest_as_if_never_inserted"`
}

// The document that is forgotten, and a question that it answers.
const (
	secretID = "secret"
	secret   = "The treasurer hides the key of the temple under the third amphora of the north wall."
	whoKnows = "Where does the treasurer hide the key of the temple?"
)

// forget puts a document, finds it, forgets it, and asks every replica for it.
func (d *demo) forget(ctx context.Context) error {
	d.app.say("A document is put, found, and forgotten:\n")
	before, err := d.digest(ctx)
	if err != nil {
		return err
	}
	if _, err := d.client.Put(ctx, &api.PutRequest{Collection: demoCollection, Documents: []*api.PutDocument{{Id: secretID, Text: secret}}}); err != nil {
		return fmt.Errorf("put %s: %w", secretID, err)
	}
	with, err := d.digest(ctx)
	if err != nil {
		return err
	}
	best, err := d.best(ctx)
	if err != nil {
		return err
	}
	d.app.say("  ? %s\n  found: %s; digest of the collection's data was %.16s…, is %.16s…\n", whoKnows, best, before, with)
	if best != secretID || before == with {
		return fmt.Errorf("a document that was put is not found: %w", retrieval.ErrCorrupt)
	}
	answer, err := d.client.Forget(ctx, &api.ForgetRequest{Collection: demoCollection, Ids: []string{secretID}})
	if err != nil || len(answer.GetReceipts()) == 0 {
		return errors.Join(fmt.Errorf("forget %s: no receipt", secretID), err)
	}
	receipt := answer.GetReceipts()[0]
	d.app.say("  forgotten: %d document; receipt: shard %d, index %d\n", answer.GetCount(), receipt.GetShard(), receipt.GetIndex())
	return d.gone(ctx, before, receipt)
}

// gone asks the router, and then every replica of the document's shard itself, for what was forgotten.
func (d *demo) gone(ctx context.Context, before string, receipt *api.Receipt) error {
	got, err := d.client.Get(ctx, &api.GetRequest{Collection: demoCollection, Ids: []string{secretID}, Read: "linearizable"})
	if err != nil {
		return fmt.Errorf("get %s: %w", secretID, err)
	}
	best, err := d.best(ctx)
	if err != nil {
		return err
	}
	d.ForgottenFound = len(got.GetDocuments())
	if best == secretID {
		d.ForgottenFound++
	}
	d.app.say("  the router: get finds %d, the question finds %s\n", len(got.GetDocuments()), best)
	after, err := d.digest(ctx)
	if err != nil {
		return err
	}
	settling, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	status, err := local.Settled(settling, d.client)
	if err != nil {
		return err
	}
	if err := d.askReplicas(settling, status.GetShards()[receipt.GetShard()], receipt); err != nil {
		return err
	}
	d.AsIfNever = after == before
	d.app.say("  digest of the collection's data: %.16s…, as if it had never been put: %s\n\n", after, yesNo(d.AsIfNever))
	return nil
}

// askReplicas asks each replica for its own state, by a member of the cluster that lives for this question.
func (d *demo) askReplicas(ctx context.Context, s *api.ShardStatus, receipt *api.Receipt) error {
	o := shard.LinkOptions{Node: "router-demo", Boot: 1, Network: consensus.Wire{}, Listen: "127.0.0.1:0"}
	for _, n := range d.cluster.Nodes() {
		o.Seeds = append(o.Seeds, n.Listen)
	}
	link, err := shard.OpenLink(o)
	if err != nil {
		return err
	}
	defer link.Close()
	for _, r := range s.GetReplicas() {
		answer, err := ownState(ctx, link.Replica(r.GetNode(), s.GetShard()))
		if err != nil {
			return fmt.Errorf("ask node %s: %w", r.GetNode(), err)
		}
		at := answer.States[0].Index
		if at < receipt.GetIndex() {
			return fmt.Errorf("node %s stands at index %d, before the forget at %d: %w", r.GetNode(), at, receipt.GetIndex(), retrieval.ErrCorrupt)
		}
		d.ReplicasAsked++
		d.ForgottenFound += len(answer.Documents)
		d.app.say("  node %s itself (%s): finds %d, at index %d; state digest %.16s…\n", r.GetNode(), r.GetRole(), len(answer.Documents), at, r.GetDigest())
	}
	return nil
}

// ownState gets the document from what a replica has, once gossip has told where its node is.
func ownState(ctx context.Context, replica shard.Peer) (*shard.GetAnswer, error) {
	for {
		answer, err := replica.Get(ctx, &shard.GetRequest{Collection: demoCollection, IDs: []string{secretID}, Read: shard.Read{Level: shard.Local}})
		if err == nil || !errors.Is(err, shard.ErrUnavailable) {
			return answer, err
		}
		if gone := wait(ctx, beforeAgain); gone != nil {
			return nil, errors.Join(err, gone)
		}
	}
}

// best returns the id of the best answer to the question.
func (d *demo) best(ctx context.Context) (string, error) {
	answer, err := d.client.Search(ctx, &api.SearchRequest{Collection: demoCollection, Text: whoKnows, K: 1, IdsOnly: true})
	if err != nil {
		return "", fmt.Errorf("search: %w", err)
	}
	if len(answer.GetHits()) == 0 {
		return "nothing", nil
	}
	return answer.GetHits()[0].GetId(), nil
}

// digest returns the digest of the collection's data, over all shards.
func (d *demo) digest(ctx context.Context) (string, error) {
	answer, err := d.client.ListCollections(ctx, &api.ListCollectionsRequest{})
	if err != nil {
		return "", fmt.Errorf("list collections: %w", err)
	}
	i := slices.IndexFunc(answer.GetCollections(), func(c *api.Collection) bool { return c.GetName() == demoCollection })
	if i < 0 {
		return "", fmt.Errorf("collection %s: %w", demoCollection, retrieval.ErrNotFound)
	}
	return answer.GetCollections()[i].GetDigest(), nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}
