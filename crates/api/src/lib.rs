//! HTTP shapes of the control endpoints: OAuth, public CA documents, admin API.
