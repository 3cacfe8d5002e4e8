"""What a run says in words: one precise sentence, and plain words for those who know no statistics."""
