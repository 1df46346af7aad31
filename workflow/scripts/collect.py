"""placeholder until the tables exist"""
