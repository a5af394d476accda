//! Each erase is judged alone: what fails for one caller, one user or one plan is nobody else's.
