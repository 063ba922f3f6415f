package encoder

// Check returns why a text alone would make [Encoder.Encode] refuse its call, or nil. It reads the text and encodes nothing.
func (e *Encoder) Check(text string, o Options) error {
	var m Matrix
	_, err := e.read(&m, text, o)
	return err
}
