//! The narrow waist: resolve, plan, execute, recover.
