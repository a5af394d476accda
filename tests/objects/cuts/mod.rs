//! An engine that dies at each request to its store and its cell, or is held up there and goes on
//! later: what it acknowledged is there, what it was at is there whole or not at all, and what it
//! left lying about is given back.

mod ending;
mod rows;
mod world;
