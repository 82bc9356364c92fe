"""Work orders as people open, move and prove them; rosters and notices around them."""
