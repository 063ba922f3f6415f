package encoder

// QueryLength returns the length that questions are cut to, where so many tokens were asked for: 0 leaves it to the model, whose own length
// [Encoder.Encode] takes by itself, or, where it states none, to QueryTokens.
func (e *Encoder) QueryLength(tokens int) int {
	if tokens == 0 && e.Conventions().Query.Length == 0 {
		return QueryTokens
	}
	return tokens
}

// Check returns why a text alone would make [Encoder.Encode] refuse its call, or nil. It reads the text and encodes nothing.
func (e *Encoder) Check(text string, o Options) error {
	var m Matrix
	_, err := e.read(&m, text, o)
	return err
}
