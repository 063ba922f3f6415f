package index

// sink moves element i down a heap until none of those below it belongs above it.
func sink[T any](heap []T, i int, above func(a, b T) bool) {
	for {
		top := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(heap) && above(heap[child], heap[top]) {
				top = child
			}
		}
		if top == i {
			return
		}
		heap[i], heap[top] = heap[top], heap[i]
		i = top
	}
}
